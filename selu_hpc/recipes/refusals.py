"""Which settings do not go together, or would fail only after a round was paid for, and why.

A run that was begun with them goes on: what it is can't be changed any more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from selu_hpc.config import Backend, Learning, RunConfig, Simulator
from selu_hpc.recipes.layers import differences
from selu_hpc.train.overlay import overlay_mistakes

NAME = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")
_FETCH = "docs/real-simulators.md says how to fetch a build"


def refusals(config: RunConfig) -> Iterator[tuple[str, str]]:
    """The path of each setting that can't stay, and why."""
    yield from _unnameable(config)
    yield from _unplayable(config)
    yield from _untrainable(config)


def _unnameable(config: RunConfig) -> Iterator[tuple[str, str]]:
    """A folder's name is made with the recipe's."""
    if not NAME.fullmatch(config.recipe):
        found = json.dumps(config.recipe, ensure_ascii=False)
        yield "recipe", f"found {found}; allowed: a name without / and control characters that begins with no dot"


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
