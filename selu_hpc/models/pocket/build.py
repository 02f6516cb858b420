"""Makes the shipped weights: draws the data, teaches, packs; and says in `recipe.json` what went into them.

    python -m selu_hpc.models.pocket --out FOLDER                     everything, some five hours on one core
    python -m selu_hpc.models.pocket --out FOLDER --work WORK --pack  pack the last checkpoint in WORK

Owns the packed form: half-precision weights, the processor's files, and recipe.json with seed, steps, the data
description, held-out accuracies and the weights' hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from selu_hpc.errors import SeluError, TrainingError
from selu_hpc.logs import set_up_logging
from selu_hpc.models.pocket.lessons.data import describe, draw_perception
from selu_hpc.models.pocket.lessons.episodes import (
    NARROW_HOME_VERBS,
    NARROW_OBJECTS,
    NARROW_SKINS,
    NARROW_VERBS,
    draw_episodes,
)
from selu_hpc.models.pocket.lessons.home_episodes import draw_home_episodes
from selu_hpc.models.pocket.lessons.homes import draw_home_perception
from selu_hpc.models.pocket.lessons.shards import open_all
from selu_hpc.models.pocket.model import build_model, save
from selu_hpc.models.pocket.teaching.measure import accuracies
from selu_hpc.models.pocket.teaching.train import Recipe, Teacher

logger = logging.getLogger(__name__)

PERCEPTION_SHARDS, EPISODE_SHARDS, EPISODES = 14, 10, 200
HOME_SHARDS, HOME_EPISODE_SHARDS = 6, 8
EXPLORATION_SHARDS, HOME_EXPLORATION_SHARDS = 8, 4
PICTURES = 4096


def draw(data: Path) -> None:
    """Every shard that is not there yet; the held-out ones are of the known world's other scenes."""
    for number in range(PERCEPTION_SHARDS):
        _missing(data, "perception", "train", number, pictures=PICTURES)
    for number in range(EPISODE_SHARDS):
        _missing(data, "episodes", "train", number, episodes=EPISODES)
    for number in range(HOME_SHARDS):
        _missing(data, "homes", "train", number, pictures=PICTURES)
    for number in range(HOME_EPISODE_SHARDS):
        _missing(data, "home_episodes", "train", number, episodes=EPISODES)
    for number in range(EXPLORATION_SHARDS):
        _missing(data, "explorations", "train", number, episodes=EPISODES)
    for number in range(HOME_EXPLORATION_SHARDS):
        _missing(data, "home_explorations", "train", number, episodes=EPISODES)
    _missing(data, "perception", "held_out", 0, pictures=1500)
    _missing(data, "episodes", "held_out", 0, episodes=120)
    _missing(data, "homes", "held_out", 0, pictures=800)
    _missing(data, "home_episodes", "held_out", 0, episodes=80)


def _missing(data: Path, what: str, split: str, number: int, **size: int) -> None:
    if (data / split / f"{what}-{split}-{number:03d}" / "names.json").is_file():
        return
    logger.info("drawing %s %s %s", what, split, number)
    _MAKERS[what](data / split, split=split, number=number, **size)


_MAKERS: dict[str, Any] = {
    "perception": draw_perception,
    "episodes": draw_episodes,
    "homes": draw_home_perception,
    "home_episodes": draw_home_episodes,
    "explorations": partial(draw_episodes, exploring=True),
    "home_explorations": partial(draw_home_episodes, exploring=True),
}


def pack(teacher: Teacher, out: Path, *, pictures: int = 1500, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged weights and their papers; returns the papers."""
    teacher.taught.load_state_dict(teacher.mean)
    model = build_model(seed=teacher.recipe.seed)
    model.load_state_dict(teacher.taught.model.state_dict())
    save(model.half(), out)
    measured = {
        split: {kind: [round(right / asked, 4), asked] for kind, (right, asked) in found.items()}
        for split in ("held_out", "unknown")
        if (teacher.data / split).is_dir()
        for found in [accuracies(teacher.taught, open_all(teacher.data / split), pictures=pictures)]
    }
    papers = {
        "recipe": asdict(teacher.recipe) | {"steps": teacher.step},
        "notes": list(notes),
        "minutes": round(teacher.elapsed_s / 60, 1),
        "torch": torch.__version__,
        "sha256": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "narrow": {"skins": NARROW_SKINS, "verbs": (*NARROW_VERBS, *NARROW_HOME_VERBS), "objects": NARROW_OBJECTS},
        "accuracy": measured,
        "data": describe(shard.folder for shard in open_all(teacher.data / "train")),
    }
    (out / "recipe.json").write_text(json.dumps(papers, separators=(",", ":"), sort_keys=True) + "\n")
    return papers


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.models.pocket",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="where the packed model goes")
    parser.add_argument("--work", type=Path, default=None, help="data and checkpoints; goes on where it stopped")
    parser.add_argument("--minutes", type=float, default=Recipe().minutes)
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="instead of minutes: this many steps")
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--batch", type=int, default=Recipe().batch, help="pictures a step of the second phase")
    parser.add_argument(
        "--tower-of", type=Path, default=None, help="a packed model whose tower stays: the second phase only"
    )
    parser.add_argument("--pack", action="store_true", help="only pack the last checkpoint")
    parser.add_argument(
        "--pictures", type=int, default=1500, help="pictures of each split that accuracy is measured on"
    )
    parser.add_argument("--note", action="append", default=[], help="kept in recipe.json; may be given again")
    options = parser.parse_args()
    set_up_logging()
    torch.set_num_threads(1)
    try:
        papers = make(options)
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    logger.info("%s: %s parameters, %s", options.out, papers["parameters"], papers["sha256"][:12])
    return 0


def make(options: argparse.Namespace) -> dict[str, Any]:
    """Draw, teach and pack, or go on with it; returns the papers."""
    work = options.work or options.out.with_name(f"{options.out.name}.work")
    if not options.pack:
        draw(work / "data")
    recipe = Recipe(seed=options.seed, minutes=options.minutes, steps=options.steps, batch=options.batch)
    if options.tower_of is not None:
        recipe = replace(recipe, tower_share=0.0)
    teacher = Teacher(recipe, work / "data", work / "checkpoints")
    if teacher.resume():
        logger.info("going on at step %s", teacher.step)
    elif options.tower_of is not None:
        teacher.take_over(options.tower_of)
    elif options.pack:
        raise TrainingError(f"{teacher.out}: no checkpoint to pack; leave out --pack to teach, or give --work")
    if not options.pack:
        teacher.run()
    return pack(teacher, options.out, pictures=options.pictures, notes=options.note)
