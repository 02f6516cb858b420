"""The code a run began with, kept in the run folder, and who may change it.

RUN/code/{selu_hpc,configs,slurm} is what every job of the run executes. A checkout that changed meanwhile is refused
unless it is asked for. Does not own images: stages of a run with one take their code
from there, gates from here.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from selu_hpc.engines.slurm.calls import Calls, TooSlowError
from selu_hpc.errors import RunFolderError
from selu_hpc.rounds.copying import code_digest, copy_call
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.provenance import SOURCE, code_state
from selu_hpc.rounds.rundir import RunDir, sync_folder

logger = logging.getLogger(__name__)

COPY_TIMEOUT_S = 600.0


@contextmanager
def held_code(
    run: RunDir,
    journal: Journal,
    recorded: dict[str, object],
    *,
    accept: bool,
    calls: Calls,
    source: Path = SOURCE,
) -> Iterator[Callable[[], object]]:
    """Refuse another checkout than the run began with, or make the snapshot, beside what the block does.

    Yields what waits until the snapshot is whole and in the journal; no job may be let go before. The copy is made by
    another process, which `calls` may have begun: a thread would take turns with those that send the jobs.
    """
    if not recorded and run.code.is_dir():
        recorded = _note_code(run, journal, source)
    if not _is_wanted(run, recorded, accept=accept, source=source):
        yield lambda: None
        return
    with ThreadPoolExecutor(1) as beside:
        made = beside.submit(_make, run, journal, calls, source)
        try:
            yield made.result
        finally:
            made.result()


def _note_code(run: RunDir, journal: Journal, source: Path) -> dict[str, object]:
    """Write down the code in the run's folder that no submit has noted: a bundle brought it, or a submit was killed."""
    digest = code_digest(str(run.code))
    state = code_state(source if code_digest(str(source)) == digest else run.code)
    journal.append("code", digest=digest, **state)
    return {"digest": digest, **state}


def _is_wanted(run: RunDir, recorded: dict[str, object], *, accept: bool, source: Path) -> bool:
    if run.code.resolve() == source.resolve():
        return False
    if not recorded:
        return True
    digest = code_digest(str(source))
    if recorded["digest"] == digest:
        return not run.code.is_dir()
    if not accept and run.code.is_dir():
        raise RunFolderError(
            f"{run.path}: its jobs run code {recorded['digest']} (commit {recorded['commit']}), this checkout is "
            f"{digest} (commit {code_state(source)['commit']}); go on with the run's own by "
            f"`{run.own_code} {run.command('submit')}`, or take this one by --accept-code"
        )
    logger.warning("the run goes on with other code: %s instead of %s", digest, recorded["digest"])
    return True


def _make(run: RunDir, journal: Journal, calls: Calls, source: Path) -> None:
    partial = run.path / f".code.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    digest = _copy(calls, source, partial)
    if run.code.exists():
        run.code.rename(run.path / f"code.until-{time.strftime('%Y%m%dT%H%M%S')}")
    partial.rename(run.code)
    sync_folder(run.path)
    journal.append("code", digest=digest, **code_state(source))


def _copy(calls: Calls, source: Path, target: Path) -> str:
    try:
        done = calls.call(copy_call(str(source)), timeout_s=COPY_TIMEOUT_S, told=os.fsencode(target))
    except TooSlowError as error:
        raise RunFolderError(f"{target}: copying {source} took more than {COPY_TIMEOUT_S:.0f} s ({error})") from error
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise RunFolderError(f"{source} can't be copied to {target}, which the jobs would run: {why}; run submit again")
    return done.stdout.strip()


def refuse_open_folders(run: RunDir) -> None:
    """No scripts or code from a folder that everyone may write: somebody else's jobs would run as us."""
    for folder in (run.path, run.code, run.jobs):
        if _mode(folder) & stat.S_IWOTH:
            raise RunFolderError(
                f"{folder}: everyone may write in it, so anyone could change what your jobs run; "
                f"`chmod o-w {shlex.quote(str(folder))}` (a Unix group can share it: chgrp, chmod g+ws), then try again"
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
