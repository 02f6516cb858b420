"""The facts of a cluster: frozen settings read from a site profile (configs/sites/*.yaml).

Owns what a profile may say and its defaults. Does not own reading the file (recipes/), what Slurm would say of itself
(engines/slurm/discover.py), or which names are refused (engines/slurm/sbatch.py).
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from selu_hpc.resources import Resources
from selu_hpc.settings import Settings


class SitePartition(Settings, frozen=True):
    """One Slurm partition of a site."""

    name: str
    """The partition's name in Slurm."""
    gpus_per_node: Annotated[int, Meta(ge=0)] = 0
    """GPUs of its nodes."""
    gres: str = "gpu"
    """Name of the GPU gres, with its type where the site wants one (`gpu:a100`)."""
    constraint: str = ""
    """Node feature to ask for."""
    qos: str = ""
    """Quality of service to ask for."""
    max_timeout_min: Annotated[int, Meta(ge=0)] = 0
    """The partition's time limit, 0 when it has none."""
    max_mem_gb: Annotated[int, Meta(ge=0)] = 0
    """Memory of its largest node, 0 when it is not known."""


class Site(Settings, frozen=True):
    """Facts of a cluster; `python -m selu_hpc.doctor --write-site` makes one from sinfo, scontrol and sacctmgr."""

    name: str
    """The site's name."""
    partitions: dict[Literal["cpu", "gpu", "preempt"], SitePartition]
    """Which partition serves CPU stages, GPU stages and stages that may be preempted."""
    account: str = ""
    """Account to charge."""
    modules: tuple[str, ...] = ()
    """Environment modules to load before a job's command."""
    python: str = ""
    """The login environment's python that runs gates; empty means the one that submits."""
    scratch: str = ""
    """Node-local folder for caches."""
    mounts: tuple[str, ...] = ()
    """Folders bound into the image beside the run folder: `source`, `source:target` or `source:target:ro`."""
    apptainer: str = "apptainer"
    """The apptainer command."""
    max_array_size: Annotated[int, Meta(ge=0)] = 0
    """Slurm's MaxArraySize; 0 means ask Slurm."""
    max_submit_jobs: Annotated[int, Meta(ge=0)] = 0
    """Most jobs a user may have in the queue; 0 means ask Slurm."""
    array_throttle: Annotated[int, Meta(ge=0)] = 0
    """Most elements of one array that run at once; 0 means no throttle."""
    sbatch_flags: dict[str, str | int | bool] = field(default_factory=dict)
    """Further sbatch options, without the ones this project sets itself."""
    trusted_keys: tuple[str, ...] = ()
    """Fingerprints of keys an image must be signed with; empty demands no signature."""
    unpack_image: bool = False
    """Unpack the image once per node and user into `scratch` (2.1 GB): tasks then read files, not a FUSE mount each."""
    kill_on_invalid_dep: bool = True
    """Whether jobs may ask for --kill-on-invalid-dep; where not, labels wait for all rollouts of their array to end."""
    resubmit_inside_jobs: bool = True
    """Whether gates may call sbatch; where not, `submit` on the login node resubmits."""

    def pool(self, asks: Resources) -> str:
        """The nodes that serve a task, by the partition's name in Slurm and what may tell nodes of one apart: GPUs."""
        partition = self.partitions.get(asks.partition)
        name = partition.name if partition else asks.partition
        return f"{name} with {asks.gpus} GPUs" if asks.gpus else name
