"""The folder in which runs will lie: what its file system can do, and how much room there is."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from selu_hpc.engines.checks.finding import Finding, bad, ok, warn

FREE_GB = 5.0
FREE_INODES = 20_000
QUOTA_S = 30.0


def check_folder(folder: Path) -> Iterator[Finding]:
    """Write, rename, link (the run's lock), advisory lock, free space and inodes where runs will lie."""
    name = "run folder"
    trial = folder / f".selu-doctor-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.mkdir()
    except OSError as error:
        yield bad(name, f"{folder}: {error.strerror}", "choose a folder you may write with --folder")
        return
    try:
        yield _operations(trial)
        yield _lock(trial)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    yield _space(folder)
    yield _quota(folder)


def _operations(trial: Path) -> Finding:
    try:
        (trial / "a").write_bytes(b"x" * 4096)
        descriptor = os.open(trial / "a", os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        (trial / "a").rename(trial / "b")
        os.link(trial / "b", trial / "c")
    except OSError as error:
        fix = "runs need a file system with rename and hard links that all nodes share (NFS, Lustre, GPFS)"
        return bad("run folder", f"write, fsync, rename, link: {error.strerror}", fix)
    return ok("run folder", f"{trial.parent}: write, fsync, rename and link work")


def _lock(trial: Path) -> Finding:
    try:
        with (trial / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return warn("file locks", f"flock: {error.strerror}", "none needed: the run's lock is a hard link")
    return ok("file locks", "flock works; the run's lock is a hard link and needs none")


def _space(folder: Path) -> Finding:
    space = os.statvfs(folder)
    free_gb = space.f_bavail * space.f_frsize / 2**30
    inodes = space.f_favail if space.f_files else FREE_INODES * 1000
    answer = f"{free_gb:.0f} GB and {inodes} inodes free"
    if free_gb < FREE_GB or inodes < FREE_INODES:
        return bad("space", answer, f"a run needs at least {FREE_GB:.0f} GB and {FREE_INODES} inodes: choose elsewhere")
    return ok("space", answer)


def _quota(folder: Path) -> Finding:
    for command in (["lfs", "quota", "-h", str(folder)], ["quota", "-s"]):
        if shutil.which(command[0]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=QUOTA_S, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                return warn("quota", f"`{' '.join(command)}`: {error}"[:160], "ask for it by hand: it may be used up")
            said = " ".join(done.stdout.split())
            if command[0] == "lfs" and done.returncode:  # a Lustre client, and the folder is on something else
                continue
            if done.returncode and not said:
                why = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
                return warn("quota", f"`{' '.join(command)}`: {why}"[:160], "ask for it by hand: it may be used up")
            if "*" in said and command[0] == "lfs":
                return bad("quota", said[:160], "free some space, or choose a folder with another quota")
            if "*" in said:  # of all file systems, this folder's or not
                return warn("quota", said[:160], f"if {folder} is on that one, free some space or choose another")
            return ok("quota", said[:160] or "none set")
    return ok("quota", "no quota command here; free space is what counts")
