"""Draws the built-in model's pre-training pictures and asks its questions about them; says what it has drawn.

    python -m selu_hpc.models.pocket.lessons.data --out FOLDER --split train --shards 16

Owns the splits, the tokenised form of a question and the data description: every (world, skin, scene, seed) is
recorded in `drawn.json` beside its shard, and nothing of the unknown world may be in a training split.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selu_hpc.config import EnvConfig, World
from selu_hpc.envs.splits import test_scenes, train_scenes
from selu_hpc.models.pocket.lessons.questions import Asked, perception
from selu_hpc.models.pocket.lessons.scenes import CLASSES, STATES, Picture, Set
from selu_hpc.models.pocket.lessons.shards import Snapshot, write
from selu_hpc.models.pocket.model import build_tokenizer
from selu_hpc.records import derive_seed
from selu_hpc.sim.drawing.skins import skin_named, skins
from selu_hpc.terminal import count, positive

POSES_PER_SET = 12
POSES_PER_CHANGE = 2
HELD_SHARE = 0.35
FIRST_PERSON_SHARE = 0.4
"""How often a moment is shown in first person as well: most that is asked later is asked of third-person views."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One scene in one skin that pictures were drawn of. what: the shard's kind, such as "perception"."""

    what: str
    world: str
    scene: str
    skin: str
    seed: int


class Tokens:
    """Questions as the ids that stand behind a picture."""

    def __init__(self) -> None:
        self._tokenizer = build_tokenizer()
        self._assistant, self._end = self._tokenizer.convert_tokens_to_ids(["<assistant>", "</s>"])

    def of(self, asked: Iterable[Asked]) -> list[tuple[list[int], int, str]]:
        found = []
        for one in asked:
            prompt = self._tokenizer(one.prompt, add_special_tokens=False)["input_ids"]
            answer = [*self._tokenizer(one.answer, add_special_tokens=False)["input_ids"], self._end]
            found.append(([*prompt, self._assistant, *answer], len(answer), one.kind))
        return found


def scenes_of(split: str) -> tuple[str, bool, Sequence[str]]:
    """(world, known, scenes) of "train", "held_out" (known world, other scenes) or "unknown" (only ever reported)."""
    world = World.UNKNOWN if split == "unknown" else World.KNOWN
    config = EnvConfig(world=world)
    return world.value, world is World.KNOWN, train_scenes(config) if split == "train" else test_scenes(config)


def draw_perception(folder: Path, *, split: str, number: int, pictures: int) -> None:
    """One shard of perception, the same for the same arguments."""
    world, known, scenes = scenes_of(split)
    rng = random.Random(derive_seed("pocket", split, number))
    tokens = Tokens()
    kinds_everywhere: set[str] = set()
    snapshots: list[Snapshot] = []
    drawn: list[Drawn] = []
    while len(snapshots) < pictures:
        scene, skin, seed = rng.choice(scenes), rng.choice(skins(known)), rng.randrange(1 << 31)
        place = Set(scene, skin_named(skin.name), random.Random(seed), known=known)
        kinds_everywhere.update(place.kinds)
        drawn.append(Drawn("perception", world, scene, skin.name, seed))
        for pose in range(POSES_PER_SET):
            if pose % POSES_PER_CHANGE == 0:
                place.change()
            place.pose()
            both = rng.random() < FIRST_PERSON_SHARE
            for picture in place.pictures(hold=rng.random() < HELD_SHARE, both=both):
                asked = perception(picture.seen, _absent(place.kinds, kinds_everywhere, rng), rng)
                if asked:
                    snapshots.append(snapshot(picture, tokens.of(asked)))
    save(folder / f"perception-{split}-{number:03d}", snapshots, drawn)


def snapshot(picture: Picture, questions: list[tuple[list[int], int, str]]) -> Snapshot:
    return Snapshot(
        picture.rgb, picture.classes, picture.shares, picture.states, picture.applicable, questions=questions
    )


def save(folder: Path, snapshots: Sequence[Snapshot], drawn: Sequence[Drawn]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "drawn.json").write_text(json.dumps([asdict(one) for one in drawn]))
    write(folder, snapshots, classes=CLASSES, states=STATES)


def describe(folders: Iterable[Path]) -> dict[str, Any]:
    """What all shards hold, small enough to ship: scenes and seed ranges by what, world and skin."""
    groups: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for folder in folders:
        for one in json.loads((folder / "drawn.json").read_text()):
            groups.setdefault((one["what"], one["world"], one["skin"]), []).append((one["scene"], one["seed"]))
    rows = []
    for (what, world, skin), pairs in sorted(groups.items()):
        scenes: dict[str, list[int]] = {}
        for scene, seed in pairs:
            scenes.setdefault(scene, []).append(seed)
        for scene, seeds in sorted(scenes.items()):
            seed_range = [min(seeds), max(seeds)]
            rows.append([what, world, skin, scene, len(seeds), *seed_range])
    return {"columns": ["what", "world", "skin", "scene", "sets", "least_seed", "greatest_seed"], "rows": rows}


def _absent(here: Sequence[str], everywhere: set[str], rng: random.Random) -> list[str]:
    pool = sorted(everywhere | set(here))
    return rng.sample(pool, min(8, len(pool)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "held_out", "unknown"), default="train")
    parser.add_argument("--shards", type=positive, default=1)
    parser.add_argument("--first", type=count, default=0)
    parser.add_argument("--pictures", type=positive, default=4096)
    options = parser.parse_args()
    for number in range(options.first, options.first + options.shards):
        draw_perception(options.out / options.split, split=options.split, number=number, pictures=options.pictures)


if __name__ == "__main__":
    main()
