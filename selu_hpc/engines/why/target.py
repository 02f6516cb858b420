"""What a person asks about: nothing, a stage, a shard or a Slurm job. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from selu_hpc.engines.slurm.ledger import Entry, Ledger
from selu_hpc.engines.slurm.sbatch import array_text
from selu_hpc.errors import SeluError
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import Stage

STAGE = re.compile(r"r(\d+)/(\w+)(?:/(\d+))?")
JOB = re.compile(r"(\d+)(?:_(\d+))?")


class UnknownWhatError(SeluError):
    """There is no such stage, shard or job in this run."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Target:
    """The whole run (no key, no entry), a stage, or one of its shards; `entry` when it was asked for by its job."""

    key: Key | None = None
    shard: int | None = None
    entry: Entry | None = None


def find_target(what: str, shape: Mapping[Key, int], ledger: Ledger) -> Target:
    """`r02/label`, `r02/label/3`, `12345`, `12345_3` or nothing; raises UnknownWhatError with what there is."""
    if not what:
        return Target()
    if found := STAGE.fullmatch(what):
        return _place(what, found, shape, ledger)
    if found := JOB.fullmatch(what):
        return _job(what, found[1], found[2], shape, ledger)
    raise _unknown(what, shape, ledger)


def _place(what: str, found: re.Match[str], shape: Mapping[Key, int], ledger: Ledger) -> Target:
    key = Key(int(found[1]), Stage(found[2])) if found[2] in set(Stage) else None
    if key is None or key not in shape:
        raise _unknown(what, shape, ledger)
    if found[3] is None:
        return Target(key)
    if int(found[3]) >= shape[key]:
        raise UnknownWhatError(f"{key} has no shard {found[3]}; it has {key}/{array_text(range(shape[key]))}")
    return Target(key, int(found[3]))


def _job(what: str, job_id: str, index: str | None, shape: Mapping[Key, int], ledger: Ledger) -> Target:
    """Job ids are reused: the last one of that number counts."""
    entry = next((one for one in reversed(ledger.entries.values()) if one.job_id == job_id), None)
    if entry is None:
        raise UnknownWhatError(f"the run's journal has no job {job_id}; {_jobs(what, ledger)}")
    if entry.key is None:
        return Target(entry=entry)
    if entry.key not in shape:
        raise UnknownWhatError(f"job {job_id} is of {entry.key}, which the run's plan has no more; it holds nothing up")
    if index is None:
        return Target(entry.key, entry.shards[0] if len(entry.shards) == 1 else None, entry)
    if entry.offset + int(index) not in entry.shards:
        elements = array_text(shard - entry.offset for shard in entry.shards)
        raise UnknownWhatError(f"job {job_id} ({entry.key}) has no element {index}; it has {job_id}_[{elements}]")
    return Target(entry.key, entry.offset + int(index), entry)


def _unknown(what: str, shape: Mapping[Key, int], ledger: Ledger) -> UnknownWhatError:
    names = [str(key) for key in shape]
    close = difflib.get_close_matches(what, names, n=1)
    stage, _, shard = what.rpartition("/")
    if not close and (near := difflib.get_close_matches(stage, names, n=1)):
        close = [f"{near[0]}/{shard}" if shard.isdecimal() else near[0]]
    elif close and shard.isdecimal():
        close = [f"{close[0]}/{shard}"]
    hint = f"did you mean {close[0]}? " if close and close[0] != what else ""
    return UnknownWhatError(
        f"no stage, shard or job {what!r} in this run; {hint}there are {_stages(shape)}; a shard is written "
        f"{names[0]}/0, a job by its number; {_jobs(what, ledger)}"
    )


def _stages(shape: Mapping[Key, int]) -> str:
    """Rounds of the same stages together: `r00/(testset, evaluate), r01-r05/(rollout, label, …)`."""
    ids = dict.fromkeys(key.round_id for key in shape)
    rounds = {round_id: ", ".join(key.stage for key in shape if key.round_id == round_id) for round_id in ids}
    told = []
    for stages, alike in groupby(rounds, key=lambda round_id: rounds[round_id]):
        first, *rest = alike
        told.append(f"r{first:02d}{f'-r{rest[-1]:02d}' if rest else ''}/({stages})")
    return ", ".join(told)


def _jobs(what: str, ledger: Ledger) -> str:
    ids = [entry.job_id for entry in ledger.entries.values() if entry.job_id]
    if not ids:
        return "no job was ever submitted for it"
    close = difflib.get_close_matches(what.partition("_")[0], ids, n=1)
    hint = f", the nearest is {close[0]}" if close else ""
    return f"its jobs are {ids[0]}{f' to {ids[-1]}' if len(ids) > 1 else ''}{hint}"
