"""What a task of each stage asks of a cluster. Does not own what a cluster has (site.py)."""

from typing import Annotated, Literal

from msgspec import Meta

from selu_hpc.settings import Positive, Settings


class Resources(Settings, frozen=True):
    """What one task of a stage asks of a cluster."""

    cpus: Positive = 1
    """CPU cores per task."""
    gpus: Annotated[int, Meta(ge=0)] = 0
    """GPUs per node."""
    mem_gb: Positive = 4
    """Memory per node in GB."""
    timeout_min: Positive = 60
    """Time limit in minutes, doubled after an attempt that ran into it; the plan's worst case counts with it."""
    partition: Literal["cpu", "gpu", "preempt"] = "cpu"
    """Which of the site's partitions (`Site.partitions`)."""


class ResourcesConfig(Settings, frozen=True):
    """Resources per stage."""

    testset: Resources = Resources()
    """Making the frozen test sets."""
    rollout: Resources = Resources()
    """Rollout arrays."""
    label: Resources = Resources()
    """Label arrays."""
    gate: Resources = Resources(timeout_min=15, mem_gb=2)
    """The gate: seals the round and builds the fine-tuning sets; runs outside the image."""
    assemble: Resources = Resources(timeout_min=15)
    """Not asked for any more, since the gate builds the sets; kept so that the configs of earlier runs are read."""
    finetune: Resources = Resources(timeout_min=240, mem_gb=8)
    """Fine-tuning; on a GPU node `gpus` is the number of ranks."""
    evaluate: Resources = Resources()
    """Evaluation arrays."""

    def of_stage(self, stage: str) -> Resources:
        """`of_stage("finetune_actor")`."""
        found: Resources = getattr(self, stage.partition("_")[0])
        return found
