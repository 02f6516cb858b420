"""Pictures of a world: any number of views at once, and the colours of segmentation.

Owns the threads that draw several views. How one view is drawn is film.py's; the same drawables give the same pixels.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing.camera import Camera, Drawable, Images, View
from selu_hpc.sim.drawing.film import Film
from selu_hpc.sim.drawing.skins import Skin, skins


def render(drawables: Sequence[Drawable], camera: Camera, *, width: int, height: int, skin: Skin) -> Images:
    """One view of the drawables."""
    return Film().shoot(View(drawables=drawables, camera=camera, width=width, height=height), skin)


def render_views(views: Sequence[View], *, skin: Skin, films: Sequence[Film] | None = None) -> list[Images]:
    """Several views. Films keep their pictures; those to be drawn from nothing each have a thread: the pixel loops
    release the GIL."""
    films = [Film() for _ in views] if films is None else films
    todo = [(film, view) for film, view in zip(films, views, strict=True) if not film.shows(view, skin)]
    new = [pair for pair in todo if not pair[0].stays(pair[1], skin)]
    waiting = [_threads(os.getpid()).submit(film.shoot, view, skin) for film, view in new[1:]]
    for film, view in new[:1] + [pair for pair in todo if pair not in new]:
        film.shoot(view, skin)
    for one in waiting:
        one.result()
    return [film.images for film in films]


def compile_all() -> None:
    """Compile every pixel loop, or read it from the cache, now: a step should not have to wait for that."""
    skin = skins(known=True)[0]
    film = Film()
    camera = Camera(position=(0.0, 0.0, 0.0), yaw=0.0)
    for x in (0.0, 0.1):
        box = Drawable(key=1, kind="Box", position=(x, -0.5, 2.0), size=(1.0, 1.0, 1.0))
        film.shoot(View(drawables=[box], camera=camera, width=8, height=8), skin)


@lru_cache(maxsize=1)
def _threads(pid: int) -> ThreadPoolExecutor:
    """This process's threads; a forked child has none of its parent's and makes its own."""
    return ThreadPoolExecutor(max_workers=3, thread_name_prefix="render")


def instance_colour(key: int) -> tuple[int, int, int]:
    """The colour of an instance in segmentation pictures; bright, and different for keys below 10,000."""
    mixed = (key * 2654435761) & 0xFFFFFF
    return (mixed >> 16 & 255, mixed >> 8 & 255, mixed & 255)


def class_colour(kind: str) -> tuple[int, int, int]:
    """The colour of a kind in class segmentation pictures."""
    return instance_colour((zlib.crc32(kind.encode()) & 0xFFFF) + 1)


def paint_ids(ids: NDArray[np.int32], colours: dict[int, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """A segmentation picture: `colours` by key, black for keys that have none."""
    table = np.zeros((max([int(ids.max(initial=0)), *colours], default=0) + 1, 3), np.uint8)
    for key, colour in colours.items():
        table[key] = colour
    return table[ids]
