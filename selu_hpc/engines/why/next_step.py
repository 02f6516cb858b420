"""What to type next; and of the run as a whole its lock, its code, its nodes, Slurm's silence.

Reads nothing, but the run's settings where an error may blame one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from selu_hpc.engines.overview import fresh_report, submit_again, tell_queue
from selu_hpc.engines.slurm.ledger import Entry
from selu_hpc.engines.why.damage import Broken
from selu_hpc.engines.why.facts import Facts
from selu_hpc.engines.why.findings import ShardWhy
from selu_hpc.engines.why.retries import more_of
from selu_hpc.engines.why.rules import read_asked, section
from selu_hpc.engines.why.tries import Try
from selu_hpc.engines.why.words import How, pending_words
from selu_hpc.rounds.lock import STALE_S
from selu_hpc.rounds.plan import SEALED, Key
from selu_hpc.rounds.rundir import Stage

TO_MEND = (How.FAILED, How.QUORUM, How.CORRUPT, How.DISK, How.GPU_OOM, How.KILLED)
"""Ends that come back as they were when nobody mends their cause."""


def next_step(facts: Facts, shards: Sequence[ShardWhy], broken: Broken) -> str:
    """One line: a command, or to wait. `broken` shards are put aside first, else nothing makes them anew."""
    run = facts.run
    if not facts.unfinished and not broken:
        report = fresh_report(run)
        return f"read {report}" if report else run.command("report")
    if facts.owner:
        return f"wait: {facts.owner['purpose']} is at work in the run; {run.command('status')}"
    if not facts.known.answered:
        return "ask again on a login node where squeue answers"
    if shards and all(why.state in ("done", "left out") for why in shards) and not broken:
        return f"nothing here; {run.command('explain')} says what holds the run up"
    if broken:
        return " && ".join([*_put_aside(facts, broken), _submit(facts)])
    lost = [why for why in shards if why.state in ("failed", "open") and why.retry.will is False]
    mend = next((one for why in lost if (one := _last_failure(why)) and one.how in TO_MEND), None)
    more = _more(facts, lost)
    if mend and (anew := _another_run(facts, mend)):
        return anew
    if mend:
        return f"mend what {shlex.quote(mend.log)} names, then {_submit(facts, more)}"
    live = facts.known.queue.live.values()
    if not lost and (lower := _lower_first(facts)):
        return f"{lower}, then {_submit(facts, more)}"
    if lost or not _alive(facts) or any(one.stuck or (one.held and not one.entry.released) for one in live):
        return _submit(facts, more)
    if held := next((one for one in live if one.held), None):
        return f"scontrol release {held.entry.job_id}"
    return f"wait; {run.command('status')} says how far it is"


def _lower_first(facts: Facts) -> str:
    """What has to change ahead of a submit, which would send again as it is what Slurm never starts; a retry that
    asked for more than the config says it sends smaller."""
    entries = ((row, facts.ledger.entries.get(row.name)) for row in facts.known.rows if row.is_unfit)
    does = (pending_words(row.reason).do for row, entry in entries if entry and not _has_grown(facts, entry))
    return next((do.removesuffix(", then submit") for do in does if do.endswith(", then submit")), "")


def _has_grown(facts: Facts, entry: Entry) -> bool:
    has = facts.rules.asks.get(section(entry.key.stage)) if entry.key else None
    asked = read_asked(facts.run, entry.name)
    return bool(has and asked and (asked.mem_gb > has.mem_gb or asked.timeout_min > has.timeout_min))


def _another_run(facts: Facts, mend: Try) -> str:
    """What to do where the error blames settings that this run can't have otherwise."""
    if mend.how is not How.FAILED:
        return ""
    from selu_hpc.engines.why.identity import another_run, blamed  # with msgspec, which explain does without elsewhere
    from selu_hpc.recipes import load_run

    settings = blamed(load_run(facts.run.path), mend.said)
    return another_run(settings) if settings else ""


def tell_trouble(facts: Facts, told: str) -> list[str]:
    """`told` is the next step; which code a submit takes matters only where it is one."""
    code = [facts.other_code] if facts.other_code and "selu_hpc.submit" in told else []
    return [*facts.silence, *_owner(facts), *code, *tell_queue(facts.known, facts.ledger)]


def _put_aside(facts: Facts, broken: Broken) -> Iterator[str]:
    """Both engines put what an unfinished gate would be made of aside themselves; nobody does so for other stages."""
    for key, shards in broken.items():
        if key.stage in SEALED and Key(key.round_id, Stage.GATE) in facts.unfinished:
            continue
        for aside in (aside for damage in shards.values() for aside in damage.asides):
            names = shlex.join(aside.names)
            yield f"(cd {shlex.quote(str(aside.folder))} && mkdir {aside.target} && mv {names} {aside.target})"


def _submit(facts: Facts, more: Sequence[str] = ()) -> str:
    """The run's own code is named where this one would be refused."""
    code = f"{facts.run.own_code} " if facts.other_code and facts.run.code.is_dir() else ""
    return f"{code}{submit_again(facts.run, facts.engine)}{''.join(f' --set {one}' for one in more)}"


def _more(facts: Facts, lost: Sequence[ShardWhy]) -> list[str]:
    return sorted({setting for why in lost if why.facts and (setting := more_of(facts, why.facts, why.tries))})


def _last_failure(why: ShardWhy) -> Try | None:
    last = why.tries[-1] if why.tries else None
    return last if last and last.is_failure and last.log else None


def _alive(facts: Facts) -> bool:
    return facts.known.local or any(one.alive for one in facts.known.queue.live.values())


def _owner(facts: Facts) -> Iterator[str]:
    if owner := facts.owner:
        import socket

        here = owner["host"] == socket.gethostname()
        told = f"{owner['purpose']} holds the run's lock: process {owner['pid']} on {owner['host']}"
        if here:
            yield told
        else:
            yield (
                f"{told}, another host, so only its touch says that it lives (last {owner.get('age_s', 0):.0f} s ago; "
                f"after {STALE_S:.0f} s the next command takes the lock over)"
            )
