"""How much Slurm takes: asked once, overridden by the site profile; and how many rounds that is."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace

from selu_hpc.engines.calls import submit_limits
from selu_hpc.engines.reconcile import Decision, Situation, decide
from selu_hpc.engines.scheduler import Slurm
from selu_hpc.errors import EngineError
from selu_hpc.site import Site

logger = logging.getLogger(__name__)

DEFAULT_MAX_ARRAY_SIZE = 1001


@dataclass(frozen=True, slots=True)
class Limits:
    """Slurm's limits as far as a submission meets them; 0 means none is known."""

    max_array_size: int = DEFAULT_MAX_ARRAY_SIZE - 1
    max_submit_jobs: int = 0
    cluster: str = ""


def ask_limits(site: Site, slurm: Slurm) -> Limits:
    """MaxArraySize caps the index, so the size of an array is one less; max_array_tasks, where set, caps the size."""
    config = slurm.config()
    most_index = site.max_array_size or int(config.get("MaxArraySize", DEFAULT_MAX_ARRAY_SIZE))
    most_tasks = re.search(r"\bmax_array_tasks=(\d+)", config.get("SchedulerParameters", ""))
    return Limits(
        max_array_size=max(1, min(most_index - 1, int(most_tasks[1]) if most_tasks else most_index)),
        max_submit_jobs=site.max_submit_jobs or _submit_limit(site, slurm, config),
        cluster=config.get("ClusterName", ""),
    )


def _submit_limit(site: Site, slurm: Slurm, config: dict[str, str]) -> int:
    """What accounting allows this user; 0 without accounting."""
    if "slurmdbd" not in config.get("AccountingStorageType", ""):
        return 0
    import getpass

    user = getpass.getuser()
    return read_submit_limit(slurm.text(*submit_limits(user)) or "", user=user, account=site.account)


def read_submit_limit(text: str, *, user: str, account: str) -> int:
    """The lowest limit of the user's own associations, of all accounts where none is named; 0 when there is none.

    Lines hold `Account=lab UserName=ann(1001) … GrpSubmitJobs=N(0) … MaxSubmitJobs=500(12)`: the limit (jobs it has).
    """
    mine = [line for line in text.splitlines() if f" UserName={user}(" in line]
    if account:
        mine = [line for line in mine if f" Account={account} " in line]
    found = re.findall(r" (?:Max|Grp)SubmitJobs=(\d+)", "\n".join(mine))
    return min((int(number) for number in found), default=0)


def rounds_that_fit(now: Situation, limits: Limits, *, num_queued: int) -> tuple[Situation, Decision]:
    """The decision for as many rounds as the user may submit; every array element counts."""
    decision = decide(now)
    room = limits.max_submit_jobs - num_queued
    if not limits.max_submit_jobs or _size(decision) <= room:
        return now, decision
    first = min((key.round_id for key in now.due if key.round_id), default=0)
    last = now.last_round
    while last > first:
        last -= 1
        fewer = replace(now, last_round=last)
        decision = decide(fewer)
        if _size(decision) <= room:
            logger.info("at most %s jobs may wait: submitting up to round %s, gates submit the rest",
                        limits.max_submit_jobs, last)  # fmt: skip
            return fewer, decision
    if num_queued:
        return replace(now, last_round=-1), decide(replace(now, last_round=-1))
    needed = "rounds 0 and 1 need" if any(key.round_id == 0 for key in now.due) else "one round needs"
    raise EngineError(
        f"{needed} {_size(decision)} queue entries, Slurm takes {limits.max_submit_jobs} of this user: make "
        "rollout.num_shards smaller and rollout.episodes_per_shard larger, so that a task does more episodes"
    )


def _size(decision: Decision) -> int:
    return sum(spec.num_tasks for spec in decision.submit)
