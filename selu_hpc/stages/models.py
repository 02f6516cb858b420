"""Which weights a stage of a round speaks with: the base, or the adapter of the round before."""

from __future__ import annotations

from dataclasses import dataclass

from selu_hpc.config import RunConfig
from selu_hpc.models.vlm import Generator, load_generator
from selu_hpc.records import Role
from selu_hpc.rounds.rundir import RunDir, Stage


@dataclass(frozen=True, slots=True)
class Speaking:
    """A generator and, for each role asked for, the adapter's name in it (None is the base)."""

    generator: Generator
    adapters: dict[Role, str | None]
    names: dict[Role, str]


def speak(run: RunDir, config: RunConfig, *, after_round: int, roles: tuple[Role, ...]) -> Speaking:
    """Load the base once with the roles' adapters as they were after a round; after round 0 there are none.

    Weights that are not those of the marker are refused: of a flipped byte nothing but the answers would tell.
    """
    owner = {role: Role.ACTOR if config.model.shared_adapter else role for role in roles}
    folders = {role: run.adapter(after_round, owner[role]) for role in roles}
    adapters = {str(owner[role]): folder for role, folder in folders.items() if folder is not None}
    for role in adapters:
        run.shard(after_round, Stage(f"finetune_{role}")).check("adapter")
    return Speaking(
        generator=load_generator(config.model, adapters=adapters),
        adapters={role: str(owner[role]) if folders[role] is not None else None for role in roles},
        names={role: f"r{after_round:02d}/{owner[role]}" if folders[role] is not None else "none" for role in roles},
    )


def base_of(config: RunConfig) -> str:
    """Which weights the base is, whatever the recipe calls them; of a server's only the name is known."""
    if config.model.server_url:
        return config.model.base
    from selu_hpc.models.backbone import find, fingerprint

    return fingerprint(find(config.model.base))
