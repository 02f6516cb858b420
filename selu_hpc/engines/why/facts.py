"""Fetches what an explanation is made from: the run folder, one look at the queue, one at accounting. Decides nothing.

Reads only. Of a stage with many broken shards only the first `MOST_LOOKED_AT` are looked into.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selu_hpc.engines.overview import Known, ShardState, ask, part_done, plan_shape, shard_states
from selu_hpc.engines.slurm.asking import ask_accounting
from selu_hpc.engines.slurm.attempts import Attempt, known_causes, read_attempt
from selu_hpc.engines.slurm.belonging import own_jobs
from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.slurm.ledger import Entry, Ledger
from selu_hpc.engines.slurm.state import Cause, QueueRow, SacctRow
from selu_hpc.engines.why.damage import Damage, damage_of, without_remedy
from selu_hpc.engines.why.logs import Said, read_said
from selu_hpc.engines.why.rules import Asked, Rules, read_asked, read_rules
from selu_hpc.errors import CorruptShardError
from selu_hpc.rounds.copying import code_digest
from selu_hpc.rounds.due import look_for_unfinished
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.lock import holder
from selu_hpc.rounds.plan import Key, Need, needs_of
from selu_hpc.rounds.rundir import RunDir, ShardDir

MOST_LOOKED_AT = 200
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Start:
    """One attempt as it left traces: its wrapper's record (Slurm), the journal's note of its end (local), its log."""

    number: int
    record: Attempt | None
    ended: dict[str, Any] | None
    said: Said


@dataclass(slots=True)
class ShardFacts:
    """What is known of one shard; `row` is its place in the queue."""

    place: ShardDir
    key: Key
    state: ShardState
    starts: list[Start] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    row: QueueRow | None = None
    done_by: int | None = None
    damage: Damage | None = None
    part: float = 0.0

    @property
    def shard(self) -> int:
        return self.place.shard

    def __str__(self) -> str:
        return f"{self.key}/{self.shard}"


@dataclass(slots=True)
class Facts:
    """What is known of a run.

    left_out: what its round was sealed without.  states: of shards that are still to come only.
    started, gave_up: the engine that was asked last, what the local one gave up.
    cancelled: the journal's notes that a job was cancelled, by its name.  owner: who holds the run's lock.
    other_code: why a submit from this checkout would be refused.  silence: what Slurm did not answer.
    """

    run: RunDir
    shape: dict[Key, int]
    unfinished: dict[Key, list[int]]
    left_out: dict[Key, list[int]]
    states: dict[Key, dict[int, ShardState]]
    ledger: Ledger
    known: Known
    rules: Rules
    started: dict[str, Any] = field(default_factory=dict)
    ended: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    gave_up: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: dict[str, dict[str, Any]] = field(default_factory=dict)
    owner: dict[str, Any] | None = None
    other_code: str = ""
    silence: list[str] = field(default_factory=list)
    accounted: list[SacctRow] = field(default_factory=list)
    causes: dict[str, dict[int, Cause]] = field(default_factory=dict)
    asked: dict[str, Asked | None] = field(default_factory=dict)

    @property
    def engine(self) -> str:
        return str(self.started.get("engine", ""))

    def needs(self, key: Key) -> tuple[Need, ...]:
        return needs_of(key, self.shape)

    def state(self, key: Key, shard: int) -> ShardState:
        if shard in self.left_out.get(key, ()):
            return ShardState.LEFT_OUT
        return self.states.get(key, {}).get(shard, ShardState.DONE)

    def entries(self, key: Key | None) -> list[Entry]:
        return [entry for entry in self.ledger.entries.values() if entry.key == key]


@dataclass(frozen=True, slots=True)
class Noted:
    """The run's journal, read once: what was asked about is looked up here before anybody asks Slurm."""

    events: list[dict[str, Any]]
    ledger: Ledger
    shape: dict[Key, int]

    @classmethod
    def read(cls, run: RunDir) -> Noted:
        events = list(Journal(run.journal_file))
        return cls(events, own_jobs(Ledger.read(events), run), plan_shape(run, events))


def gather(run: RunDir, noted: Noted, calls: Calls) -> Facts:
    """Everything but what needs a look into single shards; squeue is asked once and only if something is open."""
    events, ledger, shape = noted.events, noted.ledger, noted.shape
    found = look_for_unfinished(run, shape)
    unfinished = found.due
    known = ask(run, events, ledger, set(unfinished), calls)
    states = {key: dict(shard_states(run, key, shards, known)) for key, shards in unfinished.items()}
    facts = Facts(
        run, shape, unfinished, found.left_out, states, ledger, known, read_rules(run), owner=holder(run.lock_file)
    )
    facts.silence += [known.why_not] if known.why_not else []
    for event in events:
        _take(facts, event)
    facts.other_code = _other_code(facts) if unfinished else ""
    if facts.owner:
        with suppress(OSError):
            facts.owner["age_s"] = max(0.0, time.time() - run.lock_file.stat().st_mtime)
    return facts


def _take(facts: Facts, event: dict[str, Any]) -> None:
    match event["event"]:
        case "started":
            facts.started = event
            facts.gave_up.clear()
        case "ended":
            facts.ended[event["shard"], int(event["attempt"])] = event
        case "gave_up" if "key" not in event:
            facts.gave_up[event["shard"]] = event
        case "cancelled" if "[" not in str(event["job"]):  # parts of an array are told by what they waited for
            facts.cancelled[event["name"]] = event


def _other_code(facts: Facts) -> str:
    recorded, code = facts.ledger.code, facts.run.code
    if not recorded or code.resolve() == CHECKOUT:
        return ""
    if not code.is_dir():
        return f"{code}, the code its jobs run, is gone; submit makes it anew from this checkout"
    digest = code_digest(str(CHECKOUT))
    if digest == recorded["digest"]:
        return ""
    return (
        f"code mismatch: the run's jobs run code {recorded['digest']}, this checkout is {digest}; submit from here is "
        f"refused; take the run's own by {facts.run.own_code}, or this one by --accept-code"
    )


def look_into(facts: Facts, key: Key, shards: Iterable[int], *, hashes: bool = False) -> list[ShardFacts]:
    """The attempts of these shards; with `hashes` a finished one's files are read and compared with its marker."""
    rows = _rows(facts, key)
    found = []
    for shard in shards:
        place = facts.run.shard(key.round_id, key.stage, shard)
        one = ShardFacts(place, key, facts.state(key, shard), row=rows.get(shard))
        one.entries = [entry for entry in facts.entries(key) if shard in entry.shards and entry.job_id]
        one.starts = [_start(facts, place, number) for number in place.attempts]
        _look_at_marker(one, hashes=hashes)
        if one.state is ShardState.RUNNING:
            one.part = part_done(facts.run, key, shard)
        found.append(one)
    return found


def _rows(facts: Facts, key: Key) -> dict[int, QueueRow]:
    """A shard's place in the queue: of what will run or is stuck there, not of what has ended."""
    by_name = {entry.name: entry for entry in facts.entries(key)}
    return {
        entry.offset + index: row
        for row in facts.known.rows
        if (entry := by_name.get(row.name)) and row.job_id == entry.job_id and (row.will_run or row.is_stuck)
        for index in row.indices
    }


def _start(facts: Facts, place: ShardDir, number: int) -> Start:
    said = read_said(place.log(number), place.attempt(number) / "slurm.log")
    ended = facts.ended.get((place.name, number))
    if ended and said.begun is not None and ended["time"] < said.begun - 1:
        ended = None  # of a folder that somebody has removed since, whose numbers begin anew
    return Start(number, read_attempt(place.record(number)), ended, said)


def _look_at_marker(one: ShardFacts, *, hashes: bool) -> None:
    try:
        marker = one.place.read_marker()
        if marker:
            one.done_by = marker.summary.get("attempt")
            if hashes:
                one.place.check()
    except CorruptShardError as error:
        one.damage = damage_of(one.place, without_remedy(one.place, error))


def account(facts: Facts, shards: Iterable[ShardFacts], calls: Calls) -> None:
    """Ask accounting, once, about the jobs that served these shards; nothing is asked where none has begun or ended."""
    shards = list(shards)
    facts.asked = {entry.name: read_asked(facts.run, entry.name) for one in shards for entry in one.entries}
    entries = {entry.name: entry for one in shards if one.starts or not one.row for entry in one.entries}
    if not entries:
        return
    facts.accounted, silence = ask_accounting([entry.job_id for entry in entries.values()], calls)
    facts.silence += [silence] if silence else []
    facts.causes = known_causes(facts.ledger, entries, facts.known.rows, facts.accounted)
