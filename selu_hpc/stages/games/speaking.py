"""Which weights play in a round: the adapter of a round that is over, under the base it was trained on."""

from __future__ import annotations

from selu_hpc.config import RunConfig
from selu_hpc.models.backbone import find, load_processor
from selu_hpc.models.chat import Chat
from selu_hpc.models.vlm import load_generator
from selu_hpc.records import Role
from selu_hpc.rl4vlm.speaker import ModelSpeaker
from selu_hpc.rounds.rundir import RunDir, Stage


def speaker_after(run: RunDir, config: RunConfig, round_id: int) -> ModelSpeaker:
    """The actor as it is after a round; round 0 is the warm-up."""
    place = run.shard(round_id, Stage.FINETUNE_ACTOR)
    place.check("adapter")
    generator = load_generator(config.model, adapters={str(Role.ACTOR): place.path / "adapter"})
    chat = Chat(load_processor(find(config.model.base)))
    return ModelSpeaker(generator, chat, config.game, adapter=str(Role.ACTOR))
