"""Which of how many processes this one is, and how they find each other: srun, submitit, torchrun, or started here.

Owns the process group's life: meeting, device, timeout, agreement, end. Does not own what the ranks compute.
Nobody picks a port: ranks started here meet at a store their parent holds, srun's ranks by a file in the run folder
that says where rank 0 listens, torchrun's by its own.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import HashStore, PrefixStore, TCPStore  # type: ignore[attr-defined]  # torch re-exports its C classes

from selu_hpc.errors import TrainingError
from selu_hpc.models.device import has_gpu
from selu_hpc.rounds.rundir import write_json

logger = logging.getLogger(__name__)

TIMEOUT_S = 600.0
PARENT_STORE = "SELU_PARENT_STORE"
LAUNCHED = {PARENT_STORE, "TORCHELASTIC_RUN_ID"}
"""What our own launcher and torchrun leave in each rank's environment."""


@dataclass(frozen=True, slots=True)
class Place:
    """This process among its fellows: `Place(rank=1, world=8, local_rank=1, launcher="srun")`."""

    rank: int
    world: int
    local_rank: int
    launcher: str


def find_place(env: Mapping[str, str]) -> Place:
    """What the launcher's environment says; one process of one when there is no launcher.

    Among several tasks of a step RANK and WORLD_SIZE count only with a mark of who set them: without one they are the
    submitting shell's, and every task would take itself for the same rank.
    """
    try:
        by_srun = "SLURM_PROCID" in env and int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1
        if "RANK" in env and "WORLD_SIZE" in env and (LAUNCHED & env.keys() or not by_srun):
            launcher = "spawned" if PARENT_STORE in env else "torchrun"
            rank = int(env["RANK"])
            return Place(rank, int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", rank)), launcher)
        if "SLURM_STEP_NUM_TASKS" in env and "SLURM_PROCID" in env:
            rank = int(env["SLURM_PROCID"])
            return Place(rank, int(env["SLURM_STEP_NUM_TASKS"]), int(env.get("SLURM_LOCALID", rank)), "srun")
    except ValueError as error:
        raise TrainingError(
            f"the launcher's environment is not readable ({error}); RANK, WORLD_SIZE, LOCAL_RANK or SLURM_PROCID, "
            "SLURM_STEP_NUM_TASKS, SLURM_LOCALID must be whole numbers: start the stage by srun, torchrun or alone"
        ) from error
    return Place(0, 1, 0, "alone")


@dataclass(frozen=True, slots=True)
class Team:
    """The process group: who we are, where our tensors live, and how to agree.

    local_index, num_local: this rank among those on its host, which share its local disk.
    """

    place: Place
    device: torch.device
    local_index: int
    num_local: int

    @property
    def rank(self) -> int:
        return self.place.rank

    @property
    def world(self) -> int:
        return self.place.world

    @property
    def leads(self) -> bool:
        """Rank 0 writes and logs."""
        return self.place.rank == 0

    def total(self, *values: float) -> list[float]:
        """Sums over all ranks, equal everywhere, by way of the CPU."""
        summed = torch.tensor(values, dtype=torch.float64)
        if self.world > 1:
            dist.all_reduce(summed)
        return [float(value) for value in summed]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found

    def barrier(self) -> None:
        self.total(0.0)


@contextmanager
def meet(place: Place, *, meeting_file: Path, timeout_s: float = TIMEOUT_S) -> Iterator[Team]:
    """Join the others; leaves no group, no environment variable and no DeepSpeed state behind."""
    before = {name: os.environ.get(name) for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE", "DS_ACCELERATOR")}
    if cuda := has_gpu():
        _require_gpu_each(place)
    else:
        os.environ["DS_ACCELERATOR"] = "cpu"
    os.environ.update(LOCAL_RANK=str(place.local_rank), RANK=str(place.rank), WORLD_SIZE=str(place.world))
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", place.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
        os.environ["LOCAL_RANK"] = str(device.index)  # DeepSpeed's device; not the task's where each sees its own GPU
    try:
        with _group(place, meeting_file, timeout_s, backend="cpu:gloo,cuda:nccl" if cuda else "gloo"):
            hosts = _hosts(place)
            here = [rank for rank, host in enumerate(hosts) if host == hosts[place.rank]]
            logger.debug("rank %s of %s by %s on %s", place.rank, place.world, place.launcher, device)
            yield Team(place, device, here.index(place.rank), len(here))
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _require_gpu_each(place: Place) -> None:
    """Ranks started here see the same GPUs; under srun and torchrun each may see one of its own."""
    found = torch.cuda.device_count()
    if place.launcher == "spawned" and place.world > found:
        raise TrainingError(
            f"{place.world} ranks (finetune.num_ranks) on {found} GPUs: NCCL wants one for each; "
            f"set finetune.num_ranks={found}, or finetune on a node with more GPUs"
        )


@contextmanager
def _group(place: Place, meeting_file: Path, timeout_s: float, backend: str) -> Iterator[None]:
    timeout = timedelta(seconds=timeout_s)
    hook = sys.excepthook  # torch puts one of its own around it, each time
    try:
        store = _store(place, meeting_file, timeout)
        arguments = {} if store is None else {"store": store, "rank": place.rank, "world_size": place.world}
        dist.init_process_group(backend, timeout=timeout, **arguments)
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise TrainingError(_meeting_failed(place, error)) from error
    try:
        with _own_deepspeed():
            yield
        if place.world > 1:
            dist.all_reduce(torch.zeros(1))  # nobody takes the group down while another still reads from it
    finally:
        dist.destroy_process_group()
        arguments.clear()
        del store
        # The group hangs in a cycle. Left to the interpreter's end its threads are not joined, and one exit in five of
        # a rank that had done all its work was a SIGABRT.
        gc.collect()
        sys.excepthook = hook
        if place.rank == 0 and place.launcher == "srun":
            meeting_file.unlink(missing_ok=True)


def _store(place: Place, meeting_file: Path, timeout: timedelta) -> Any:
    if place.world == 1:
        return HashStore()
    if parent := os.environ.get(PARENT_STORE):
        host, _, port = parent.rpartition(":")
        return PrefixStore(str(meeting_file), TCPStore(host, int(port), is_master=False, timeout=timeout))
    if place.launcher == "srun" and "MASTER_PORT" not in os.environ:
        return _file_meeting(place, meeting_file, timeout)
    return None


def listening_store(host: str, timeout: timedelta = timedelta(seconds=TIMEOUT_S)) -> Any:
    """A store on a port the kernel picks, listening before anyone is told of it."""
    return TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)


def _file_meeting(place: Place, file: Path, timeout: timedelta) -> Any:
    """Rank 0 listens on a port the kernel picks and writes it down; the key keeps out an earlier attempt's file."""
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    key = "-".join(os.environ.get(name, "0") for name in names)
    if place.rank == 0:
        host = socket.gethostname()
        store = listening_store(host, timeout)
        write_json(file, {"key": key, "host": host, "port": store.port})
        return store
    deadline = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < deadline:
        try:
            os.listdir(file.parent)  # noqa: PTH208 - only to make a network file system look again
            found = json.loads(file.read_bytes())
            if found["key"] == key:
                return TCPStore(found["host"], found["port"], is_master=False, timeout=timeout)
        except (FileNotFoundError, ValueError):
            pass
        time.sleep(0.2)
    raise TrainingError(
        f"rank {place.rank} of {place.world}: rank 0 did not write {file} within {timeout.total_seconds():.0f} s; "
        "read rank 0's log, and check that all nodes see the run folder"
    )


def _hosts(place: Place) -> list[str]:
    hosts: list[Any] = [socket.gethostname()]
    if place.world > 1:
        hosts = [None] * place.world
        dist.all_gather_object(hosts, socket.gethostname())
    return hosts


def _meeting_failed(place: Place, error: Exception) -> str:
    where = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
    text = str(error)
    if "EADDRINUSE" in text or "address already in use" in text.lower():
        return (
            f"rank {place.rank} of {place.world}: {where} is in use by another process; unset MASTER_PORT and start "
            "by srun or alone (a free port is found), or give torchrun `--rdzv-endpoint=localhost:0`"
        )
    first = text.splitlines()[0] if text else type(error).__name__
    return (
        f"rank {place.rank} of {place.world} ({place.launcher}): cannot meet the other ranks at {where}: {first}; "
        "check that all ranks were started and can reach each other"
    )


@contextmanager
def _own_deepspeed() -> Iterator[None]:
    """DeepSpeed keeps groups in module globals; a second training in this process must not find them."""
    import deepspeed.comm.comm as comm
    from deepspeed.utils import groups

    before = {name: value for name, value in vars(groups).items() if name.isupper() and name.startswith("_")}
    before = {name: dict(value) if isinstance(value, dict) else value for name, value in before.items()}
    try:
        yield
    finally:
        comm.cdb = None
        vars(groups).update(before)
