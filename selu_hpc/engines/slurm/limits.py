"""How much Slurm takes: asked once, overridden by the site profile; and how many rounds that is."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from selu_hpc.engines.slurm.calls import submit_limits, user_name
from selu_hpc.engines.slurm.reconcile import Decision, Situation, decide
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import EngineError
from selu_hpc.site import Site, SitePartition

logger = logging.getLogger(__name__)

DEFAULT_MAX_ARRAY_SIZE = 1001
LEFT_TO_OTHERS = 10
"""MaxJobCount is of the whole cluster, and what ended in its last minutes (MinJobAge) counts too: one part in so many
is left to that."""


@dataclass(frozen=True, slots=True)
class Association:
    """What accounting allows a user in one account; in one partition, where it names one. None: no limit."""

    account: str
    partition: str
    is_default: bool
    max_submit_jobs: int | None
    max_timeout_min: int | None

    def __str__(self) -> str:
        return f"account {self.account}" + (f", partition {self.partition}" if self.partition else "")


@dataclass(frozen=True, slots=True)
class Limits:
    """Slurm's limits as far as a submission meets them; 0 means none is known.

    source: who says max_submit_jobs; where somebody says 0, no job is taken.
    """

    max_array_size: int = DEFAULT_MAX_ARRAY_SIZE - 1
    max_submit_jobs: int = 0
    cluster: str = ""
    source: str = ""
    associations: tuple[Association, ...] = ()

    @property
    def is_closed(self) -> bool:
        return bool(self.source) and not self.max_submit_jobs

    @property
    def words(self) -> str:
        if not self.max_submit_jobs:
            return f"no job is taken (MaxSubmitJobs=0 of {self.source})" if self.source else "no submit limit known"
        return f"{self.max_submit_jobs} jobs in the queue" + (f" ({self.source})" if self.source else "")


def ask_limits(site: Site, slurm: Slurm) -> Limits:
    """MaxArraySize caps the index, so the size of an array is one less; max_array_tasks, where set, caps the size."""
    config = slurm.config()
    most_index = site.max_array_size or int(config.get("MaxArraySize", DEFAULT_MAX_ARRAY_SIZE))
    most_tasks = re.search(r"\bmax_array_tasks=(\d+)", config.get("SchedulerParameters", ""))
    enforced = "limits" in config.get("AccountingStorageEnforce", "")
    associations = _ask_associations(site, slurm, config) if enforced or not site.max_submit_jobs else []
    most_jobs, source = min(_job_limits(site, config, associations), default=(0, ""))
    return Limits(
        max_array_size=max(1, min(most_index - 1, int(most_tasks[1]) if most_tasks else most_index)),
        max_submit_jobs=most_jobs,
        cluster=config.get("ClusterName", ""),
        source=source,
        associations=tuple(associations) if enforced else (),
    )


def _ask_associations(site: Site, slurm: Slurm, config: dict[str, str]) -> list[Association]:
    if "slurmdbd" not in config.get("AccountingStorageType", ""):
        return []
    user = user_name()
    partitions = {name for one in site.partitions.values() for name in one.name.split(",")}
    text = slurm.text(*submit_limits(user)) or ""
    return read_associations(text, user=user, account=site.account, partitions=partitions)


def read_associations(text: str, *, user: str, account: str, partitions: Collection[str]) -> list[Association]:
    """The user's own in the account that is named, else in their default one; of all where none is known to be that,
    and then without those that take no job. None is of another partition than these.

    Lines hold `Account=lab UserName=ann(1001) Partition= … DefAssoc=Yes … GrpSubmitJobs=N(0) … MaxSubmitJobs=500(12)
    MaxWallPJ=1440`: the limit (jobs it has), minutes.
    """
    mine = [_read_association(line) for line in text.splitlines() if f" UserName={user}(" in line]
    accounts = {account} if account else {one.account for one in mine if one.is_default}
    return [
        one
        for one in mine
        if (one.account in accounts if accounts else one.max_submit_jobs != 0)
        and (not one.partition or one.partition in partitions)
    ]


def _read_association(line: str) -> Association:
    said = dict(re.findall(r"(?:^| )(\w+)=(\S*)", line))
    jobs, minutes = (
        [int(found[0]) for name in names if (found := re.match(r"\d+", said.get(name, "")))]
        for names in (("MaxSubmitJobs", "GrpSubmitJobs"), ("MaxWallPJ",))
    )
    return Association(
        account=said.get("Account", ""),
        partition=said.get("Partition", ""),
        is_default=said.get("DefAssoc") == "Yes",
        max_submit_jobs=min(jobs, default=None),
        max_timeout_min=min(minutes, default=None),
    )


def _job_limits(site: Site, config: dict[str, str], associations: Sequence[Association]) -> Iterator[tuple[int, str]]:
    """How many jobs may wait and who says so; every element of an array is one. The profile knows better than Slurm,
    which refuses what would reach MaxJobCount all the same."""
    most = int(config.get("MaxJobCount", "0"))
    if site.max_submit_jobs:
        yield site.max_submit_jobs, "max_submit_jobs of the site profile"
    else:
        yield from ((one.max_submit_jobs, str(one)) for one in associations if one.max_submit_jobs is not None)
    if most:
        others = 1 if site.max_submit_jobs else max(1, most // LEFT_TO_OTHERS)
        yield most - others, f"MaxJobCount={most} of the whole cluster, less {others}"


def rounds_that_fit(now: Situation, limits: Limits, *, num_queued: int) -> tuple[Situation, Decision]:
    """The decision for as many rounds as the user may submit; every array element counts."""
    now = replace(now, site=_within(now.site, limits.associations))
    decision = decide(now)
    room = limits.max_submit_jobs - num_queued
    if not (limits.max_submit_jobs or limits.is_closed) or _size(decision) <= room:
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
    if limits.is_closed:
        raise EngineError(f"{limits.words}: name another account in the site profile, or ask the administrators")
    needed = "rounds 0 and 1 need" if any(key.round_id == 0 for key in now.due) else "one round needs"
    raise EngineError(
        f"{needed} {_size(decision)} queue entries, Slurm takes {limits.max_submit_jobs} of this user"
        f"{f' ({limits.source})' if limits.source else ''}: make rollout.num_shards smaller and "
        "rollout.episodes_per_shard larger, so that a task does more episodes"
    )


def _within(site: Site, associations: Sequence[Association]) -> Site:
    """The profile with no more time than the user's associations give one job, which retries then don't grow past."""
    partitions = {
        role: one.but(max_timeout_min=min(minutes, one.max_timeout_min or minutes))
        for role, one in site.partitions.items()
        if (minutes := _minutes(one, associations))
    }
    return site.but(partitions={**site.partitions, **partitions}) if partitions else site


def _minutes(partition: SitePartition, associations: Sequence[Association]) -> int:
    """0 for no limit that is known: the partition's own association counts before the account's, a QOS before both."""
    names = partition.name.split(",")
    own = [one for one in associations if one.partition in names]
    found = (one.max_timeout_min for one in own or associations if one.partition in ("", *names))
    return 0 if partition.qos else min(filter(None, found), default=0)


def _size(decision: Decision) -> int:
    return sum(spec.num_tasks for spec in decision.submit)
