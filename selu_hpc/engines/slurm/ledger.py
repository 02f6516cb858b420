"""What the run's journal says about its Slurm jobs, and which of them the queue still knows. Pure.

Events of this engine: `slurm_run` (the id in every job's name; another begins anew in a copied folder), `started` (a
person's submit: retries are counted anew, no node is excluded any more), `intent` → `submitted` | `adopted` |
`abandoned`, `released`, `rewired`, `cancelled`, `stopped` (none is in the queue any more), `corrupt`, `quarantined`,
`readmitted`, `gave_up`, `code`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from selu_hpc.engines.slurm.sbatch import Wait, array_text, read_array_text
from selu_hpc.engines.slurm.state import QueueRow
from selu_hpc.errors import RunFolderError
from selu_hpc.rounds.plan import After, Key
from selu_hpc.rounds.rundir import Stage

BY_PERSON = "cancel was asked for"
"""Why a job is `cancelled` where a person stopped the run; else the event says what the engine found."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One job this run wanted: from its intent to what became of it.

    uid: the user who submitted it.  over: it is known to have left the queue.  unfit: its shards that ask for what no
    node has.
    """

    name: str
    label: str
    key: Key | None
    shards: tuple[int, ...]
    offset: int
    generation: int
    epoch: int
    waits: tuple[Wait, ...]
    job_id: str = ""
    released: bool = False
    abandoned: bool = False
    over: bool = False
    uid: int | None = None
    unfit: set[int] = field(default_factory=set)
    time: float = 0.0

    @property
    def is_open(self) -> bool:
        """An intent whose outcome is not in the journal: the crash came in between."""
        return not self.job_id and not self.abandoned

    def elements(self, shards: set[int]) -> str:
        """The job, or these of its elements: `12`, `12_[0,3-5]`."""
        if not self.key or shards >= set(self.shards):
            return self.job_id
        return f"{self.job_id}_[{array_text(shard - self.offset for shard in shards)}]"


@dataclass(slots=True)
class Ledger:
    """The journal, read once.

    cluster, folder, inodes: where the jobs are and the folder they were sent from.
    quarantined: by (pool, node), with the reason.  lifted: jobs from before the last `started` may still avoid
    nodes.  refused: why what was to be sent last was not taken, if nothing was released since.
    """

    run_id: str = ""
    cluster: str = ""
    folder: str = ""
    inodes: list[int] = field(default_factory=list)
    epoch: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    gave_up: dict[tuple[Key, int], str] = field(default_factory=dict)
    quarantined: dict[tuple[str, str], str] = field(default_factory=dict)
    lifted: bool = False
    refused: str = ""
    code: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, journal: Iterable[dict[str, Any]]) -> Ledger:
        ledger = cls()
        for event in journal:
            ledger._take(event)
        return ledger

    def next_generation(self, label: str) -> int:
        return 1 + max((e.generation for e in self.entries.values() if e.label == label), default=-1)

    def _take(self, event: dict[str, Any]) -> None:
        kind, entry = event["event"], self.entries.get(event.get("name", ""))
        if kind == "slurm_run":
            self._begin(event)
        elif kind == "started":
            self.epoch += 1
            self.gave_up.clear()
            self.refused = ""
            self.lifted = self.lifted or bool(self.quarantined)
            self.quarantined.clear()
        elif kind == "intent" and "label" in event:
            self.entries[event["name"]] = self._entry(event)
        elif kind in ("submitted", "adopted") and entry:
            entry.job_id = str(event["job"])
        elif kind == "cancelled" and entry:
            entry.unfit |= set(read_array_text(event.get("unfit", "")))
        elif kind == "stopped":
            for one in self.entries.values():
                one.over = True
        elif kind == "abandoned" and entry:
            entry.abandoned, entry.job_id = True, ""
        elif kind == "refused":
            self.refused = event["why"]
        elif kind == "released":
            self.refused = ""
            for name in event.get("names", ()):
                if name in self.entries:
                    self.entries[name].released = True
        elif kind == "rewired" and entry:
            entry.waits = _read_waits(event["waits"])
        elif kind == "gave_up" and "key" in event:
            self.gave_up[read_key(event["key"]), int(event["shard"])] = event["why"]
        elif kind == "quarantined":
            self.quarantined[event.get("pool", ""), event["node"]] = event["why"]
        elif kind == "readmitted":
            self.lifted = False
        elif kind == "code":
            self.code = event

    def _begin(self, event: dict[str, Any]) -> None:
        if self.run_id and self.run_id != event["id"]:
            self.forget_jobs()
        self.run_id, self.cluster = event["id"], event.get("cluster", "")
        self.folder, self.inodes = event.get("folder", ""), event.get("inodes", [])

    def forget_jobs(self) -> None:
        """They belong to the folder that this one was copied from."""
        self.run_id = self.cluster = self.folder = ""
        self.entries.clear()
        self.gave_up.clear()

    def _entry(self, event: dict[str, Any]) -> Entry:
        return Entry(
            name=event["name"],
            label=event["label"],
            key=read_key(event["key"]) if event["key"] else None,
            shards=tuple(read_array_text(event["shards"])),
            offset=event["offset"],
            generation=event["generation"],
            epoch=self.epoch,
            waits=_read_waits(event["waits"]),
            uid=event.get("uid"),
            time=event["time"],
        )


def read_key(text: str) -> Key:
    """`r01/rollout` → Key; of what another version wrote there may be a stage that this one does not know."""
    round_text, _, stage = text.partition("/")
    try:
        return Key(int(round_text[1:]), Stage(stage))
    except ValueError as error:
        raise RunFolderError(
            f"the run's journal names a stage {text!r}, which this version does not know; look at the run with the "
            "version that made it"
        ) from error


def waits_json(waits: Iterable[Wait]) -> list[list[str]]:
    return [[str(wait.after), *wait.names] for wait in waits]


def shards_json(shards: Iterable[int]) -> str:
    return array_text(shards)


def _read_waits(value: list[list[str]]) -> tuple[Wait, ...]:
    return tuple(Wait(After(after), tuple(names)) for after, *names in value)


@dataclass(slots=True)
class Live:
    """A job of this run that the queue still has: its shards that wait, run, or never will."""

    entry: Entry
    waiting: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    stuck: set[int] = field(default_factory=set)
    held: bool = False

    @property
    def alive(self) -> set[int]:
        return self.waiting | self.running

    @property
    def why_stuck(self) -> str:
        if unfit := self.stuck & self.entry.unfit:
            return (
                f"{len(unfit)} tasks ask for more than a node has or one job may have; lower resources.* of their "
                "stage or correct the site profile, then submit cancels and resends them"
            )
        return f"{len(self.stuck)} tasks wait for what can't come any more; submit cancels and resends them"


@dataclass(slots=True)
class InQueue:
    """The queue, seen from the journal.

    live: by name.  adopted: open intents whose job is there.  lost: open intents whose job is not.
    strays: jobs under our names that the journal does not count: a second copy, or one that was given up.
    """

    live: dict[str, Live] = field(default_factory=dict)
    adopted: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    strays: list[tuple[str, str]] = field(default_factory=list)


def match(ledger: Ledger, rows: Iterable[QueueRow]) -> InQueue:
    """Lay the queue beside the journal."""
    seen = InQueue()
    by_name: dict[str, dict[str, list[QueueRow]]] = {}
    for row in rows:
        if row.will_run or row.is_stuck:
            by_name.setdefault(row.name, {}).setdefault(row.job_id, []).append(row)
    for name, entry in ledger.entries.items():
        jobs = by_name.get(name, {})
        if entry.is_open:
            if jobs:
                entry.job_id = seen.adopted[name] = min(jobs, key=int)
            else:
                seen.lost.append(name)
        seen.strays += [(name, job_id) for job_id in sorted(jobs, key=int) if job_id != entry.job_id]
        if entry.job_id in jobs:
            seen.live[name] = _live(entry, jobs[entry.job_id])
    return seen


def completed(ledger: Ledger, live: Mapping[str, Live], rows: Iterable[QueueRow], *, me: str) -> set[tuple[Key, int]]:
    """Shards whose task ended well as Slurm has it. Gates do so without a marker when they sent shards again."""
    on_their_way = {(one.entry.key, shard) for one in live.values() for shard in one.alive}
    found = set()
    for row in rows:
        entry = ledger.entries.get(row.name)
        if row.state != "COMPLETED" or not entry or row.job_id != entry.job_id or row.job_id == me:
            continue
        if entry.key and entry.key.stage is not Stage.GATE:
            found |= {(entry.key, entry.offset + index) for index in row.indices}
    return found - on_their_way


def _live(entry: Entry, rows: list[QueueRow]) -> Live:
    live = Live(entry)
    for row in rows:
        shards = {entry.offset + index for index in row.indices} if entry.key else {0}
        target = live.stuck if row.is_stuck else live.waiting if row.waits else live.running
        target |= shards
        entry.unfit |= shards if row.is_unfit else set()
        live.held = live.held or row.is_held
    return live
