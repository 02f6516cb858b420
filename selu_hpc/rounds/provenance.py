"""Opens a run folder: makes it with its config and provenance, or checks that it belongs to the same config.

Owns config.yaml and provenance.json, and says which commit code is of. Does not own what lies in rounds/ (rundir.py).
"""

from __future__ import annotations

import functools
import json
import logging
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selu_hpc.config import RunConfig
from selu_hpc.errors import RunFolderError
from selu_hpc.recipes import load_run, to_yaml
from selu_hpc.recipes.layers import differences
from selu_hpc.rounds.copying import code_digest
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.rundir import RunDir, write_bytes, write_json

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).resolve().parents[2]
ORIGIN = "origin.json"
"""In a run from a bundle: what its code is, and the digests of the shards made where it came from."""
UNKNOWN: Mapping[str, Any] = {"commit": None, "dirty": None}
PACKAGES = (
    "ai2thor", "deepspeed", "numpy", "peft", "tokenizers", "torch", "transformers",
    "virtualhome", "zarr", "zstandard",
)  # fmt: skip


def default_folder(config: RunConfig) -> Path:
    """Where a run lies unless --run says otherwise: the same config finds the same folder."""
    world = config.game.name if config.plays_games else config.env.simulator
    return Path("runs") / f"{config.recipe}-{world}-s{config.seed}-{config.signature}"


def open_run(path: Path, config: RunConfig) -> tuple[RunDir, RunConfig]:
    """Make the folder or continue in it; raising `rounds` and changing scheduling settings is allowed."""
    run = RunDir(path.absolute())
    config = config_in(run, config)
    make_run(run, config)
    keep_config(run, config)
    return run, config


def named_paths(config: RunConfig) -> dict[str, str]:
    """Files and folders that a config may name and stages then read, by setting; '' where it names none."""
    base = config.model.base
    return {
        "model.base": "" if base == "pocket" else base,
        "env.unity_releases": config.env.unity_releases,
        "finetune.deepspeed": config.finetune.deepspeed,
    }


def config_in(run: RunDir, config: RunConfig) -> RunConfig:
    """What a submit of this config would run in this folder, which may hold more rounds; refused where it would be.

    Looks only.
    """
    if not _is_text(run.path):
        raise RunFolderError(
            f"{os.fsencode(run.path)!r}: is not UTF-8, which records are in; choose another with --run"
        )
    with _told_by_folder(run):
        if run.config_file.exists():
            old = load_run(run.path)
            _require_as_begun(run, old)
            return _merge(run, old, config)
        _refuse_foreign(run)
    return config


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def make_run(run: RunDir, config: RunConfig) -> None:
    """A new run's folder, with what it was begun with; a folder that has a config stays as it is."""
    with _told_by_folder(run):
        if not run.config_file.exists():
            run.path.mkdir(parents=True, exist_ok=True)
            write_json(run.provenance_file, provenance(config))
            write_bytes(run.config_file, to_yaml(config).encode())


def keep_config(run: RunDir, config: RunConfig) -> None:
    """Write the config that a run goes on with, where it is another than before; hold the run's lock.

    A run from a bundle has a config and no provenance of its own yet.
    """
    with _told_by_folder(run):
        text = to_yaml(config)
        changed = text != run.config_file.read_text(encoding="utf-8")
        if changed:
            old = load_run(run.path)
            if old.identity != config.identity:
                _merge(run, old, config)  # another submit may have begun it since we looked
        if (changed or not run.provenance_file.exists()) and not has_begun(run):
            write_json(run.provenance_file, provenance(config))
        if changed:
            write_bytes(run.config_file, text.encode())


@contextmanager
def _told_by_folder(run: RunDir) -> Iterator[None]:
    """What the file system refuses is the folder's error, with the way out."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{run.path}: cannot be used as a run folder: {error.strerror or error}; "
            "choose another with --run, on storage that all nodes share and you may write"
        ) from error


def has_begun(run: RunDir) -> bool:
    """Whether any stage has left something or a job of the run may still be in Slurm's queue.

    A submit that was refused leaves a folder in which nothing has begun, and what it was refused for can be changed.
    """
    if next(run.path.glob("rounds/*/*/*"), None) is not None:
        return True
    sent: set[str] = set()
    for event in Journal(run.journal_file):
        if event["event"] in ("submitted", "adopted"):
            sent.add(event["name"])
        elif event["event"] in ("cancelled", "abandoned"):
            sent.discard(event["name"])
    return bool(sent)


def _merge(run: RunDir, old: RunConfig, new: RunConfig) -> RunConfig:
    changed = [f"  {key}: the run has {a!r}, asked for {b!r}" for key, a, b in differences(old.identity, new.identity)]
    if changed and not has_begun(run):
        return new
    if changed:
        raise RunFolderError(
            f"{run.path}: this folder belongs to another config (signature {old.signature}, asked for "
            f"{new.signature}):\n" + "\n".join(changed) + "\nchoose another folder with --run, or drop what differs"
        )
    return new.but(rounds=max(old.rounds, new.rounds))


def _require_as_begun(run: RunDir, config: RunConfig) -> None:
    """That nobody has edited config.yaml since: the rounds to come would be of another experiment.

    Other code may read another signature from the same file, for it has settings that the run's had not.
    """
    try:
        recorded = json.loads(run.provenance_file.read_bytes())
        signature, code = recorded["signature"], recorded["code"]
        began_with = {"commit": code["commit"], "dirty": code["dirty"]}
    except (OSError, ValueError, KeyError, TypeError):
        return
    if signature == config.signature or not has_begun(run):
        return
    told = f"{run.config_file}: its signature is {config.signature}, the run began with {signature}"
    if began_with == code_state(SOURCE) == {"commit": began_with["commit"] or "?", "dirty": False}:
        raise RunFolderError(f"{told}: it was edited; restore it, or begin another run with --run and --set")
    logger.warning("%s: by other code, or it was edited since", told)


def _refuse_foreign(run: RunDir) -> None:
    path = run.path
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        raise RunFolderError(f"{path}: is a file; choose a folder with --run")
    strangers = sorted(p.name for p in path.iterdir() if not p.name.endswith(".partial"))
    if [name for name in strangers if name not in ("provenance.json", "lock") and not name.startswith("lock.")]:
        if run.provenance_file.name in strangers:
            run.require()
        raise RunFolderError(
            f"{path}: holds {', '.join(strangers[:3])} but no config.yaml: not a run folder; choose another with --run"
        )


def provenance(config: RunConfig) -> dict[str, Any]:
    """What made this run: config signature, code, versions, machine."""
    return {
        "signature": config.signature,
        "code": code_state(SOURCE),
        "packages": _versions(),
        "python": platform.python_version(),
        "machine": {"host": platform.node(), "cpus": os.cpu_count(), "system": _system()},
        "image": config.image,
        "command": sys.argv,
    }


def code_state(source: Path = SOURCE) -> Mapping[str, Any]:
    """Commit and dirty flag of the code; both None where nobody knows. Pages are no code."""
    return _checked_out(source) or _state_told(source)


@functools.cache
def _checked_out(source: Path) -> Mapping[str, Any] | None:
    """What git says of a checkout, asked once."""
    code = ("--", ".", ":(exclude)docs", ":(exclude)*.md")
    try:
        if _git(source, "rev-parse", "--show-cdup"):  # a way up: the repository of something that this lies in
            return None
        said = _git(source, "status", "--porcelain=v2", "--branch", "--untracked-files=no", *code).splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    head = next((line.split()[2] for line in said if line.startswith("# branch.oid ")), None)
    if head in (None, "(initial)"):
        return None
    return {"commit": head, "dirty": any(not line.startswith("#") for line in said)}


def _state_told(source: Path) -> Mapping[str, Any]:
    """What a run's journal, or the bundle it came in, says of the code in its folder, while that is the same code."""
    run = RunDir(source.parent)
    told = [event for event in Journal(run.journal_file) if event["event"] == "code"]
    with suppress(OSError, ValueError, LookupError, TypeError):
        told.append(json.loads((run.path / ORIGIN).read_bytes())["code"])
    digest = code_digest(str(source)) if told else ""
    same = (one for one in told if one.get("digest") == digest)
    return next(({name: one.get(name) for name in UNKNOWN} for one in same), UNKNOWN)


def _git(source: Path, *arguments: str) -> str:
    # A lab's shared checkout belongs to somebody else; reading its commit is harmless.
    command = ["git", "-c", f"safe.directory={source}", "-C", str(source), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


def _versions() -> dict[str, str | None]:
    """Read off the names of what is installed; importlib.metadata takes ten milliseconds before it says anything."""
    found: dict[str, str] = {}
    for place in sys.path:
        with suppress(OSError):
            for papers in Path(place).glob("*.dist-info"):
                package, _, version = papers.stem.rpartition("-")
                found.setdefault(package.lower(), version)
    return {package: found.get(package) for package in PACKAGES}


def _system() -> str:
    """`platform.platform()` without the process it starts."""
    this = os.uname()
    return f"{this.sysname}-{this.release}-{this.machine}"
