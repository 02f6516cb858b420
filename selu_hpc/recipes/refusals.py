"""Which settings do not go together, or would fail only after a round was paid for, and why.

A run that was begun with them goes on: what it is can't be changed any more. What is typed for it is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from selu_hpc.config import Backend, CriticMode, Hindsight, Learning, RunConfig, Simulator
from selu_hpc.recipes.layers import DEFAULT, differences
from selu_hpc.recipes.mistakes import SourceOf
from selu_hpc.train.batches import unshared
from selu_hpc.train.overlay import overlay_mistakes

NAME = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")
_JUDGING_BY_THEMSELVES = (Learning.SELF_CONSISTENCY, Learning.LMSI, Learning.SELF_REFINE)
_FETCH = "docs/real-simulators.md says how to fetch a build"


def refusals(config: RunConfig, source_of: SourceOf, *, begun: bool = False) -> Iterator[tuple[str, str]]:
    """The path of each setting that can't stay, and why; of a run that was begun only what may be asked of it anew."""
    yield from _unreachable(config)
    yield from _unshared(config, source_of)
    yield from _unread(config, source_of)
    for looked_over in (_unnameable, _unplayable, _untrainable):
        for path, why in looked_over(config):
            if not begun or _is_typed(path, source_of):
                yield path, why


def _is_typed(path: str, source_of: SourceOf) -> bool:
    return source_of(path).startswith("--set ")


def _unreachable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """A server's address that no request would go to."""
    url = config.model.server_url
    if url and not _is_address(url):
        wanted = f"http://{url}" if "://" not in url and _is_address(f"http://{url}") else "http://NODE:PORT"
        yield "model.server_url", f"found {_quoted(url)}, which is no address; write one such as {wanted}"


def _is_address(url: str) -> bool:
    try:
        found = urlsplit(url)
        return found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:  # a port that is no number
        return False


def _unshared(config: RunConfig, source_of: SourceOf) -> Iterator[tuple[str, str]]:
    """Batches that the ranks cannot share evenly."""
    batches = {"finetune.global_batch": config.finetune.global_batch}
    if config.plays_games:
        batches["game.batch"] = config.game.batch
    for name, batch in batches.items():
        if why := unshared(name, config.finetune.num_ranks, batch, config.finetune.micro_batch):
            yield (
                _asked_for(("finetune.num_ranks", name, "finetune.micro_batch"), source_of),
                f"{why}; change finetune.num_ranks, finetune.micro_batch or {name}",
            )


def _unread(config: RunConfig, source_of: SourceOf) -> Iterator[tuple[str, str]]:
    """What was typed for a critic that does not read it: a row of its own, of the same work. A recipe may have it."""
    reads_feedback = config.learning is Learning.SELF_REFINE
    read = ("critic.mode", "critic.frames", *(("critic.feedback",) if reads_feedback else ()))
    by_itself = config.learning in _JUDGING_BY_THEMSELVES
    for path in _changed(config, "critic" if by_itself else "critic.feedback"):
        if path not in read and _is_typed(path, source_of):
            yield path, f"learning is {config.learning}, whose judge does not read it: leave it out"
    mode = config.critic.mode
    if mode in (CriticMode.RANDOM, CriticMode.NONE):
        for path in _changed(config, "critic.hindsight", "critic.consistency_check"):
            if _is_typed(path, source_of):
                yield path, f"critic.mode is {mode}, which relabels nothing: leave it out"
    if mode is not CriticMode.MODEL and config.learning in (Learning.SELF_REFINE, Learning.SCORING):
        path = _asked_for(("critic.mode", "learning"), source_of)
        if _is_typed(path, source_of):
            yield (
                path,
                f"critic.mode {mode} judges every episode, and learning {config.learning} none: take one of them",
            )
    if config.critic.hindsight is Hindsight.OFF and _is_typed("critic.consistency_check", source_of):
        yield "critic.consistency_check", "it is of what hindsight finds, and critic.hindsight is off: leave it out"


def _asked_for(paths: Sequence[str], source_of: SourceOf) -> str:
    """Of settings that do not go together, the one that was typed; else one that a recipe gives."""
    typed = (path for path in paths if _is_typed(path, source_of))
    given = (path for path in paths if source_of(path) != DEFAULT)
    return next(typed, None) or next(given, paths[0])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unnameable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """A folder's name is made with the recipe's, and files are found by the base's."""
    if not NAME.fullmatch(config.recipe):
        found = _quoted(config.recipe)
        yield "recipe", f"found {found}; allowed: a name without / and control characters that begins with no dot"
    if not config.model.base.strip():
        yield "model.base", f"found {_quoted(config.model.base)}; give a folder, a hub id, or `pocket`"


def _changed(config: RunConfig, *parts: str) -> Iterator[str]:
    """The settings of these parts that are not a plain run's."""
    for path, _, _ in differences(config.plain(), RunConfig().plain()):
        if any(path == part or path.startswith(f"{part}.") for part in parts):
            yield path


def _unplayable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What no episode could be played with, or would be dropped without a word."""
    env = config.env
    for path in _changed(config, "game") if not config.plays_games else ():
        yield path, f"learning is {config.learning}, which plays no card games: add `--recipe rl4vlm`, or leave it out"
    if config.plays_games:
        for path in _changed(config, "env.simulator", "critic", "mix"):
            what = f"learning is {config.learning}, which plays card games without it: leave it out"
            yield path, f"{what} (a run that was begun with it goes on by --run alone)"
        return
    if config.learning is Learning.SCORING and config.model.server_url:
        yield (
            "model.server_url",
            "learning scoring weighs given answers, which a server does not tell; leave model.server_url empty",
        )
    critic = config.critic
    if critic.sure_yes > 0 and not critic.self_asking:
        yield (
            "critic.sure_yes",
            f"{critic.sure_yes} sends an unsure yes to self-asking, and critic.self_asking is false: set one of them "
            "(critic.sure_yes=0 takes every yes)",
        )
    if env.backend is Backend.STAND_IN:
        return
    if env.backend is Backend.CLOUD_RENDERING and env.simulator is Simulator.VIRTUALHOME:
        yield "env.backend", f"{env.backend} is AI2-THOR's; VirtualHome's build draws under X: set env.backend to xvfb"
    if not env.unity_releases:
        yield "env.backend", f"{env.backend} needs env.unity_releases; {_FETCH}"
    if not env.unity_commit and env.simulator is Simulator.THOR:
        yield "env.backend", f"{env.backend} needs env.unity_commit; {_FETCH}"


def _untrainable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Settings that fine-tuning would refuse after round 1 was paid for, with why; they are a run's identity, too."""
    if config.learning is Learning.ZERO_SHOT:
        return
    model, file = config.model, config.finetune.deepspeed
    if model.dtype == "float16":
        yield "model.dtype", 'found "float16"; fine-tuning is done in float32 or bfloat16: set one of them'
    try:
        re.compile(model.lora_targets)
    except (re.error, OverflowError, RecursionError) as error:
        what = f"found {model.lora_targets!r}, which is no regular expression: {error}"
        yield "model.lora_targets", f"{what}; write one such as '.*(q_proj|v_proj)'"
    try:
        settings = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError, RecursionError) as error:
        if config.image != "none" and isinstance(error, OSError):
            return  # the image may have it
        yield "finetune.deepspeed", f"{file!r} cannot be read as JSON: {error}; give the path of a DeepSpeed JSON file"
    else:
        if file and not Path(file).is_absolute() and config.image == "none":  # in an image: containers/mounts.py
            yield "finetune.deepspeed", f"{file!r}: is another file in another folder; write {Path(file).absolute()}"
        if not isinstance(settings, dict):
            yield "finetune.deepspeed", f"{file!r} holds no JSON object, which DeepSpeed's settings are"
            return
        for what in overlay_mistakes(settings):
            yield "finetune.deepspeed", f"{file!r} {what}"
