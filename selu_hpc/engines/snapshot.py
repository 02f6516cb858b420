"""The code a run began with, kept in the run folder, and who may change it.

RUN/code/{selu_hpc,configs,slurm} is what every job of the run executes. A checkout that changed meanwhile is refused
unless it is asked for. Does not own images: stages of a run with one take their code
from there, gates from here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from loguru import logger

from selu_hpc.errors import RunFolderError
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.provenance import SOURCE, code_state
from selu_hpc.rounds.rundir import RunDir, sync_folder

PARTS = ("selu_hpc", "configs", "slurm")
LEFT_OUT = ("__pycache__", ".pyc", ".pyo", "~", ".swp", ".partial")


@contextmanager
def held_code(
    run: RunDir, journal: Journal, recorded: dict[str, object], *, accept: bool, source: Path = SOURCE
) -> Iterator[Callable[[], object]]:
    """Refuse another checkout than the run began with, or make the snapshot, beside what the block does.

    Yields what waits until the snapshot is whole and in the journal; no job may be let go before.
    """
    if not _is_wanted(run, recorded, accept=accept, source=source):
        yield lambda: None
        return
    with ThreadPoolExecutor(1) as beside:
        made = beside.submit(_make, run, journal, source)
        try:
            yield made.result
        finally:
            made.result()


def _is_wanted(run: RunDir, recorded: dict[str, object], *, accept: bool, source: Path) -> bool:
    if run.code.resolve() == source.resolve():
        return False
    if not recorded:
        return True
    digest = code_digest(source)
    if recorded["digest"] == digest:
        return not run.code.is_dir()
    if not accept and run.code.is_dir():
        raise RunFolderError(
            f"{run.path}: its jobs run code {recorded['digest']} (commit {recorded['commit']}), this checkout is "
            f"{digest} (commit {code_state(source)['commit']}); go on with the run's own by "
            f"`PYTHONPATH={run.code} python -m selu_hpc.submit --run {run.path}`, or take this one by --accept-code"
        )
    logger.warning("the run goes on with other code: {} instead of {}", digest, recorded["digest"])
    return True


def _make(run: RunDir, journal: Journal, source: Path) -> None:
    partial = run.path / f".code.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    digest = code_digest(source, copy=partial)
    if run.code.exists():
        run.code.rename(run.path / f"code.until-{time.strftime('%Y%m%dT%H%M%S')}")
    partial.rename(run.code)
    sync_folder(run.path)
    journal.append("code", digest=digest, **code_state(source))


def code_digest(source: Path, *, copy: Path | None = None) -> str:
    """Sixteen hex digits over every file's path and bytes; with `copy`, of the very bytes that are written there."""
    digest = hashlib.blake2b(digest_size=8)
    made: set[str] = set()
    for name in _files(source):
        with open(f"{source}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - hundreds of them, on every submit
            data = file.readall()
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
        if copy:
            folder = f"{copy}/{name}".rpartition("/")[0]
            if folder not in made:
                Path(folder).mkdir(parents=True, exist_ok=True)
                made.add(folder)
            with open(f"{copy}/{name}", "wb", buffering=0) as file:  # noqa: PTH123 - as above
                file.write(data)
    return digest.hexdigest()


def _files(source: Path) -> Iterator[str]:
    """Paths below the source, in an order that depends on names only."""
    start = len(str(source)) + 1
    for part in PARTS:
        for folder, folders, names in os.walk(source / part):
            folders[:] = sorted(name for name in folders if not name.endswith(LEFT_OUT))
            yield from (f"{folder}/{name}"[start:] for name in sorted(names) if not name.endswith(LEFT_OUT))


def refuse_open_folders(run: RunDir) -> None:
    """No scripts or code from a folder that everyone may write: somebody else's jobs would run as us."""
    for folder in (run.path, run.code, run.jobs):
        if _mode(folder) & stat.S_IWOTH:
            raise RunFolderError(
                f"{folder}: everyone may write in it, so anyone could change what your jobs run; "
                f"`chmod o-w {folder}` (a Unix group can share it: chgrp, chmod g+ws), then try again"
            )
    above = _mode(run.path.parent)
    if above & stat.S_IWOTH and not above & stat.S_ISVTX:
        raise RunFolderError(
            f"{run.path.parent}: everyone may rename what lies in it, so anyone could put another folder in the place "
            f"of {run.path.name}; `chmod o-w` or `chmod +t` it, or choose another place for the run"
        )
    umask = os.umask(0o022)
    os.umask(umask)
    if not umask & stat.S_IWOTH:
        raise RunFolderError(
            f"umask {umask:03o}: everyone could change the scripts this would write into {run.path}; "
            "`umask 022` (or 002 to share the run with a Unix group), then try again"
        )


def _mode(folder: Path) -> int:
    try:
        return folder.stat().st_mode
    except FileNotFoundError:
        return 0
