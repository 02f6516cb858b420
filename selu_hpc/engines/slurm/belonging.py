"""Whether the jobs in a run's journal are this folder's, and whether squeue would show them all, here and to this user.

A copied folder has the journal of its original, which names that one's jobs. And an empty answer of squeue means that
there are none only on the cluster that has them, and only where it shows the jobs of whoever submitted them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from selu_hpc.engines.slurm.ledger import Entry, Ledger
from selu_hpc.engines.slurm.owners import owners
from selu_hpc.errors import RunFolderError
from selu_hpc.rounds.rundir import RunDir


class UnseenJobsError(RunFolderError):
    """Jobs of a run may be at work that squeue does not show here."""


def identity(run: RunDir) -> dict[str, Any]:
    """What tells this folder from a copy: its path, and its own and its journal's inode.

    A path may differ between hosts (links, automounts) and an inode after a restored backup, but not both. The device's
    number is left out: each host numbers network file systems in its own way.
    """
    inodes = [file.stat().st_ino for file in (run.path, run.journal_file)]
    return {"folder": str(run.path.resolve()), "inodes": inodes}


def is_copy(ledger: Ledger, run: RunDir) -> bool:
    """The journal was begun in another folder. One that says nothing of its folder is taken for this one's."""
    if not ledger.folder or not run.journal_file.exists():
        return False
    here = identity(run)
    return bool(here["folder"] != ledger.folder and here["inodes"] != ledger.inodes)


def own_jobs(ledger: Ledger, run: RunDir) -> Ledger:
    """The ledger without the jobs of the folder it was copied from."""
    if is_copy(ledger, run):
        ledger.forget_jobs()
    return ledger


def why_unseen(ledger: Ledger, run: RunDir, config: Mapping[str, str], *, uid: int | None = None) -> str:
    """Why unfinished shards may be at work in jobs that squeue does not show; empty where it shows all.

    config: what `scontrol show config` says.  uid: who asks, by default this process's user.
    """
    here = config.get("ClusterName", "")
    if ledger.cluster and here and ledger.cluster != here:
        return f"its jobs are on cluster {ledger.cluster}, this one is {here}"
    uid = os.getuid() if uid is None else uid
    if uid == 0 or "jobs" not in config.get("PrivateData", "").lower().split(","):
        return ""
    others = (entry for entry in ledger.entries.values() if entry.uid not in (None, uid))
    hidden = [entry for entry in others if _may_be_at_work(entry, run)]
    if not hidden:
        return ""
    first = hidden[0]
    return (
        f"{len(hidden)} jobs of {owners([first])}'s may still be at work, the first is {first.job_id} ({first.name}), "
        "and this cluster shows users their own jobs only (PrivateData)"
    )


def require_all_seen(ledger: Ledger, run: RunDir, config: Mapping[str, str]) -> None:
    """Raises UnseenJobsError, with what to do, where an empty queue would mean nothing."""
    if why := why_unseen(ledger, run, config):
        raise UnseenJobsError(
            f"{run.path}: {why}; nothing was changed: let their owner go on, on their cluster, or stop them with "
            f"`{run.command('cancel')}`, after which others may go on there; a copy of the folder "
            "goes on anywhere, with jobs of its own"
        )


def require_original(ledger: Ledger, run: RunDir) -> None:
    """Raises RunFolderError in a copied folder, for who would act on the jobs in its journal."""
    if is_copy(ledger, run):
        raise RunFolderError(
            f"{run.path}: this folder is a copy, the jobs in its journal are those of {ledger.folder}: cancel there, "
            f"or, if that folder was moved here, by scancel with the names of {run.jobs}/*.sh; submit here sends jobs "
            "of this folder's own"
        )


def _may_be_at_work(entry: Entry, run: RunDir) -> bool:
    if not entry.key or not entry.released or not entry.job_id or entry.over:
        return False
    open_shards = run.unfinished(entry.key.round_id, entry.key.stage, max(entry.shards) + 1)
    return not set(entry.shards).isdisjoint(open_shards)
