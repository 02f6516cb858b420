"""How far a run is: markers first, then one look at the queue, then what attempts left behind. Changes nothing.

Finished shards are only listed, so 10,000 of them cost one listing. Nothing here loads msgspec or asks Slurm when
nothing is open. A queue that was asked and did not answer is "not known", never "not there".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

from selu_hpc.engines.slurm.asking import ask_config, ask_queue
from selu_hpc.engines.slurm.attempts import read_attempts
from selu_hpc.engines.slurm.belonging import own_jobs, why_unseen
from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.slurm.ledger import InQueue, Ledger, Live, match, read_key
from selu_hpc.engines.slurm.state import Cause, QueueRow
from selu_hpc.errors import EXIT_REQUEUE
from selu_hpc.rounds.due import Unfinished, look_for_unfinished
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.lock import holder
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import MARKER, RunDir, Stage


class Verdict(StrEnum):
    """A run as a whole."""

    FINISHED = "finished"
    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class ShardState(StrEnum):
    """One shard; `pending` is in the queue, `open` nowhere, `failed` nowhere after an attempt that ended badly.

    `left out`: its round was sealed without it.
    """

    DONE = "done"
    RUNNING = "running"
    PENDING = "pending"
    FAILED = "failed"
    OPEN = "open"
    LEFT_OUT = "left out"


@dataclass(slots=True)
class StageState:
    """Shards of one stage by what is known of them; `pending` ones are in the queue, `open` ones nowhere.

    left_out: their round was sealed without them.  share: finished shards and the finished parts of running ones, of
    all that are or will be there.
    """

    key: Key
    num_shards: int
    done: int = 0
    running: int = 0
    pending: int = 0
    failed: int = 0
    open: int = 0
    left_out: int = 0
    share: float = 0.0


@dataclass(slots=True)
class Overview:
    """Everything status prints.

    trouble: one line each, with the shard, job or node it is about.  answer: why the queue is not known.
    local: this run's local engine is at work now.
    """

    run: RunDir
    engine: str
    verdict: Verdict
    stages: list[StageState]
    trouble: list[str]
    answer: str = ""
    local: bool = False

    @property
    def num_open(self) -> int:
        return sum(stage.num_shards - stage.done - stage.left_out for stage in self.stages)


@dataclass(slots=True)
class Known:
    """What is known of unfinished shards: the queue beside the journal and as squeue said it, what ended here.

    ended, attempts_ended: of the local engine.  local: it is at work.  owned: somebody holds the run's lock.
    """

    rows: list[QueueRow] = field(default_factory=list)
    queue: InQueue = field(default_factory=InQueue)
    answered: bool = True
    why_not: str = ""
    ended: dict[str, int] = field(default_factory=dict)
    attempts_ended: set[tuple[str, int]] = field(default_factory=set)
    local: bool = False
    owned: bool = False

    def forgotten(self, live: Live) -> bool:
        """Whether a job is on hold that nobody is there to release."""
        return live.held and not live.entry.released and not self.owned


def counted(number: int, thing: str) -> str:
    """`1 shard`, `2 shards`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def submit_again(run: RunDir, engine: str) -> str:
    """What to type to go on: the local engine is named, where another could be taken for it."""
    return run.command("submit", *(["--engine", "local"] if engine == "local" else []))


def fresh_report(run: RunDir) -> Path | None:
    """The run's report, if it was written since anything happened in the run.

    The journal says nothing of stages that were run by hand, nor of when a job of Slurm's ended: their markers do.
    """
    report = run.report / "index.html"
    told = (run.path.glob(f"rounds/*/{stage}/shard-*/{MARKER}") for stage in (Stage.EVALUATE, Stage.GATE))
    try:
        written = report.stat().st_mtime
        return report if all(written >= one.stat().st_mtime for one in (run.journal_file, *chain(*told))) else None
    except FileNotFoundError:
        return None


def engine_of(events: Sequence[dict[str, Any]]) -> str:
    """Which engine the run was last begun with; "" for one that never was."""
    return next((event.get("engine", "") for event in reversed(events) if event["event"] == "started"), "")


def look(run: RunDir, calls: Calls) -> Overview:
    """Read the run folder and, if something is unfinished and was handed to Slurm, its queue."""
    events = list(Journal(run.journal_file))
    ledger = own_jobs(Ledger.read(events), run)
    shape = plan_shape(run, events)
    unfinished = look_for_unfinished(run, shape)
    known = ask(run, events, ledger, set(unfinished.due), calls)
    stages = [_stage(run, key, count, unfinished, known) for key, count in shape.items()]
    engine = engine_of(events)
    trouble = [*_gave_up(run, ledger, events, unfinished.due), *tell_queue(known, ledger)]
    found = Overview(run, engine, Verdict.FINISHED, stages, trouble, known.why_not, known.local)
    if found.num_open:
        live = known.queue.live.values()
        alive = known.local or any(one.alive and not known.forgotten(one) for one in live)
        found.verdict = Verdict.RUNNING if alive else Verdict.STOPPED if known.answered else Verdict.UNKNOWN
    return found


def plan_shape(run: RunDir, events: Iterable[dict[str, Any]]) -> dict[Key, int]:
    """Shards per stage, in the plan's order: from the journal, or of a run begun by hand from its config."""
    noted = [event["stages"] for event in events if event["event"] == "plan" and "stages" in event]
    if noted:
        return {read_key(key): int(count) for key, count in noted[-1].items()}
    from selu_hpc.recipes import load_run
    from selu_hpc.rounds.plan import make_plan

    return {stage.key: stage.num_shards for stage in make_plan(load_run(run.path))}


def ask(run: RunDir, events: list[dict[str, Any]], ledger: Ledger, open_stages: set[Key], calls: Calls) -> Known:
    known = Known()
    for event in events:
        if event["event"] == "ended":
            known.ended[event["shard"]] = int(event["code"])
            known.attempts_ended.add((event["shard"], int(event["attempt"])))
    owner = holder(run.lock_file)
    known.owned = bool(owner)
    known.local = bool(owner and owner["purpose"] == "a local run")
    names = [name for name, entry in ledger.entries.items() if entry.key in open_stages or entry.key is None]
    if not names or not open_stages:
        return known
    known.rows, known.why_not = ask_queue(names, calls)
    if ledger.cluster and not known.why_not and not any(row.will_run for row in known.rows):
        why = why_unseen(ledger, run, ask_config(calls))
        known.why_not = f"Slurm's queue is not known: {why}" if why else ""
    known.answered = not known.why_not
    known.queue = match(ledger, known.rows) if known.answered else known.queue
    return known


def _stage(run: RunDir, key: Key, count: int, unfinished: Unfinished, known: Known) -> StageState:
    due, left_out = unfinished.due.get(key, []), len(unfinished.left_out.get(key, ()))
    state = StageState(key, count, done=count - len(due) - left_out, left_out=left_out)
    state.share = float(state.done)
    for shard, one in shard_states(run, key, due, known):
        setattr(state, one, getattr(state, one) + 1)
        if one is ShardState.RUNNING:
            state.share += part_done(run, key, shard)
    state.share /= max(1, count - left_out)
    return state


def shard_states(run: RunDir, key: Key, unfinished: list[int], known: Known) -> Iterator[tuple[int, ShardState]]:
    """What each unfinished shard of a stage is; one listing, then one look per folder that is there."""
    live = [one for one in known.queue.live.values() if one.entry.key == key]
    running = {shard for one in live for shard in one.running}
    pending = {shard for one in live for shard in one.waiting}
    try:
        begun = set(os.listdir(run.stage(key.round_id, key.stage))) if unfinished else set()  # noqa: PTH208 - names only
    except FileNotFoundError:
        begun = set()
    for shard in unfinished:
        if shard in pending:
            yield shard, ShardState.PENDING
        elif shard in running:
            yield shard, ShardState.RUNNING
        elif f"shard-{shard:04d}" not in begun:
            yield shard, ShardState.OPEN
        else:
            yield shard, _begun(run, key, shard, known)


def _begun(run: RunDir, key: Key, shard: int, known: Known) -> ShardState:
    place = run.shard(key.round_id, key.stage, shard)
    newest = max(place.attempts, default=None)
    if known.local and newest is not None and (place.name, newest) not in known.attempts_ended:
        return ShardState.RUNNING
    return ShardState.FAILED if _failed(run, key, shard, known) else ShardState.OPEN


def part_done(run: RunDir, key: Key, shard: int) -> float:
    """How much of a running shard's newest attempt is done, 0 to 1."""
    place = run.shard(key.round_id, key.stage, shard)
    newest = max(place.attempts, default=None)
    return 0.0 if newest is None else read_part(place.progress(newest))


def read_part(file: Path) -> float:
    """How much an attempt says that it has done, 0 to 1; 0 where it says nothing that can be read."""
    try:
        seen = json.loads(file.read_bytes())
        part = float(seen["done"]) / max(1.0, float(seen["total"]))
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return 0.0
    return min(1.0, part) if part > 0 else 0.0


def _failed(run: RunDir, key: Key, shard: int, known: Known) -> bool:
    """The last attempt ended badly: with its work saved only where its time is too short."""
    attempts = read_attempts(run, key, shard)
    if attempts:
        last = attempts[-1]
        saved = last.code == EXIT_REQUEUE and last.cause is not Cause.TIMEOUT
        return not (last.requeued or saved) and last.code not in (0, None)
    return known.ended.get(run.shard(key.round_id, key.stage, shard).name, 0) not in (0, EXIT_REQUEUE)


def _gave_up(
    run: RunDir, ledger: Ledger, events: list[dict[str, Any]], unfinished: dict[Key, list[int]]
) -> Iterator[str]:
    for (key, shard), why in ledger.gave_up.items():
        if shard in unfinished.get(key, ()):
            yield f"{key} shard {shard} is given up: {why}; read {_log(run, key, shard)}"
    since = max((at for at, event in enumerate(events) if event["event"] == "started"), default=0)
    local = {event["shard"]: event for event in events[since:] if event["event"] == "gave_up" and "key" not in event}
    for key, shards in unfinished.items():
        for shard in shards if local else ():
            if event := local.get(run.shard(key.round_id, key.stage, shard).name):
                why = f"failed {counted(int(event['attempts']), 'time')}"
                yield f"{key} shard {shard} is given up: {why}; read {_log(run, key, shard)}"


def _log(run: RunDir, key: Key, shard: int) -> str:
    """The newest attempt's log; a task that died before it could write one has Slurm's, where Slurm started it."""
    place = run.shard(key.round_id, key.stage, shard)
    newest = max(place.attempts, default=None)
    if newest is None:
        return str(run.jobs if run.jobs.is_dir() else run.journal_file)
    log = place.log(newest)
    return str(next((one for one in (log, log.with_name("slurm.log")) if one.exists()), log.parent))


def tell_queue(known: Known, ledger: Ledger) -> Iterator[str]:
    """Jobs that need a submit, and nodes that get none; a line each."""
    queue = known.queue
    if forgotten := [live.entry for live in queue.live.values() if known.forgotten(live)]:
        first = f"{forgotten[0].job_id} ({forgotten[0].name})"
        which = f"job {first} is" if len(forgotten) == 1 else f"{len(forgotten)} jobs, the first is {first}, are"
        yield f"{which} on hold: whoever submitted ended before the release; submit releases"
    for name, live in queue.live.items():
        if live.stuck:
            reasons = {row.reason for row in known.rows if row.is_unfit and row.job_id == live.entry.job_id}
            told = f" (Slurm says {', '.join(sorted(reasons))})" if reasons else ""
            yield f"job {live.entry.job_id} ({name}): {live.why_stuck}{told}"
    for name, job_id in queue.strays:
        yield f"job {job_id} ({name}): a second copy; submit cancels it"
    for name, job_id in queue.adopted.items():
        yield f"job {job_id} ({name}): its id never reached the journal; submit adopts it"
    if ledger.refused:
        yield f"what was to be sent last was refused: {' '.join(ledger.refused.split())}"
    for (_, node), why in ledger.quarantined.items():
        yield f"node {node} is excluded for this run: {why}"
