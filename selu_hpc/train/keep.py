"""A round that taught a role nothing: its adapter goes on as it was, or begins as one that changes nothing.

A base model that succeeds at nothing in its first round leaves an empty set; the run goes on, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from selu_hpc.models.backbone import find
from selu_hpc.models.vlm import load_backbone
from selu_hpc.records import derive_seed
from selu_hpc.train import adapter, closing
from selu_hpc.train.curve import write_curve
from selu_hpc.train.ranks import Team
from selu_hpc.train.result import Result
from selu_hpc.train.sft import Job

logger = logging.getLogger(__name__)


def teaches_nothing(datasets: tuple[Path, ...]) -> bool:
    """Whether every set is there and empty."""
    return all(file.is_file() and not file.read_bytes().strip() for file in datasets)


def keep(job: Job, team: Team, mark: Callable[[Result], None] = lambda result: None) -> Result:
    """Write the last round's adapter, or a fresh one, whose second matrices are zero, as this round's.

    job: starts from the last round's adapter, also where training would begin anew (`finetune.start_from`).
    mark: as in `sft.train`.
    """
    if not team.leads:
        return Result("", {})
    logger.warning(
        "%s: the round's set is empty, so the adapter stays as it was; card.json beside the set says why: when no "
        "episode was judged a success, raise rollout.episodes_per_shard or set critic.hindsight",
        job.name,
    )
    base = find(job.model.base)
    backbone, _ = load_backbone(job.model)
    model = adapter.put_on(backbone, job.model, seed=derive_seed(job.seed, "lora"))
    weights = adapter.trainable(model) if job.start is None else adapter.read(job.start, model, base)
    result = Result("", {"samples": 0, "steps": 0})

    def write(own: Path) -> str:
        write_curve(own / "curve.json", [], result.summary)
        (own / closing.TENSORBOARD).mkdir()
        return adapter.write(own / "adapter", model, weights, base=job.model.base, base_folder=base)

    closing.finish(job.folder, result, write, mark, attempt=None)
    return result
