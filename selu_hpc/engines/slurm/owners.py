"""Whose a run's jobs are: where a group shares a run, only who submitted a job, or an operator, may change it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from selu_hpc.engines.slurm.ledger import Entry, Live
from selu_hpc.errors import EngineError

_DENIED = "access/permission denied"
"""Slurm's words for what only the owner of a job may do."""


def is_denied(error: EngineError) -> bool:
    return _DENIED in str(error).lower()


def is_mine(entry: Entry) -> bool:
    """Whether this user may change it for certain; an operator may change others', too."""
    return entry.uid in (None, os.getuid()) or os.getuid() == 0


def theirs_last(live: Mapping[str, Live]) -> dict[str, Live]:
    """The run's last job of another user's, which can't be re-pointed, counts where there is none of this user's."""
    return dict(sorted(live.items(), key=lambda item: not (item[1].entry.key or is_mine(item[1].entry))))


def owners(entries: Iterable[Entry]) -> str:
    """`ann`, `ann, bob`."""
    return ", ".join(sorted({_user(entry.uid) for entry in entries}))


def _user(uid: int | None) -> str:
    if uid is None:
        return "another user"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
