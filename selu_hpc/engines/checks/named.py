"""The base and the Unity build that a recipe names: whether stages that run on this machine would find them.

Owns what is certain without loading a model or a simulator: files that are not there. The hub's cache is read as the
hub's own client lays it out, for loading that client takes longer than a whole submission.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from selu_hpc.config import Backend, RunConfig, Simulator
from selu_hpc.engines.checks.finding import Finding, Grade, bad, ok
from selu_hpc.errors import ConfigError

_HOME_BUILD = "*.x86_64"
"""What envs/virtualhome/process.py looks for; that module loads the client."""


def check_named(config: RunConfig, *, here: bool) -> Iterator[Finding]:
    """Of each, whether it is there; what is not here may be on the nodes, where stages run, if they don't run here."""
    found = [_base(config)] if config.model.base != "pocket" and not config.model.server_url else []
    if config.env.backend is not Backend.STAND_IN and not config.plays_games:
        found.append(_build(config))
    for one in found:
        if one.grade is Grade.PROBLEM and not here:
            answer = f"{one.answer} on this machine; jobs need it on their nodes"
            yield replace(one, grade=Grade.WARNING, answer=answer)
        else:
            yield one


def require_named(config: RunConfig) -> None:
    """Refuse what stages on this machine would never find, before there is a run of it that could not be mended."""
    for one in check_named(config, here=True):
        if one.grade is Grade.PROBLEM:
            raise ConfigError(f"{one.check} {one.answer}; {one.fix}")


def _base(config: RunConfig) -> Finding:
    name, base = "model.base", config.model.base
    if not base.strip():  # a path of no letters is the current folder
        return bad(name, f"{base!r}: names nothing", "give a folder, a hub id, or `pocket`")
    folder = Path(base).expanduser()
    if folder.is_dir() and not folder.is_absolute():
        return bad(name, f"{base!r}: is another folder in another folder", f"write {folder.absolute()}")
    if not folder.is_dir() and (folder.is_absolute() or base.startswith(".")):
        return bad(name, f"{base!r}: no such folder", "give a folder, a hub id, or `pocket`")
    cached = folder if folder.is_dir() else _snapshot(base)
    if cached is None:
        fix = f"on a machine with internet `hf download {base}` with HF_HOME on shared storage, or set model.base to a "
        return bad(name, f"{base!r}: neither a folder nor in the hub cache", f"{fix}folder or to `pocket`")
    lacks = [name for name in ("config.json", "*.safetensors") if not any(cached.glob(name))]
    if lacks:
        fetch = f"hf download HUB_ID --local-dir {cached}" if folder.is_dir() else f"hf download {base}"
        return bad(name, f"{base!r}: {cached} lacks {' and '.join(lacks)}", f"fetch them: `{fetch}`")
    return ok(name, str(cached))


def _snapshot(hub_id: str) -> Path | None:
    """Where the hub's cache has this id's newest files."""
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
    try:
        folder = place / "snapshots" / (place / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return folder if folder.is_dir() else None


def _build(config: RunConfig) -> Finding:
    name, env = "env.unity_releases", config.env
    folder = Path(env.unity_releases).expanduser()
    if not folder.is_absolute() and folder.exists():
        return bad(name, f"{env.unity_releases!r}: is another folder in another folder", f"write {folder.absolute()}")
    if env.simulator is Simulator.VIRTUALHOME:
        builds = [str(file) for file in folder.glob(_HOME_BUILD)]
        if len(builds) == 1:
            return ok(name, builds[0])
        fix = "docs/real-simulators.md says how to fetch VirtualHome"
        return bad(name, f"{env.unity_releases!r}: has {len(builds)} files like {_HOME_BUILD}, not one", fix)
    from selu_hpc.envs.launch import release_folder

    try:
        return ok(name, str(release_folder(env)))
    except ConfigError as error:
        what, _, fix = str(error).rpartition("; ")
        return bad(name, f"{env.unity_releases!r}: {what}", fix)
