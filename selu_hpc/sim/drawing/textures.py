"""Procedural textures: grey patterns in 0 … 1 between a material's two colours, with mip levels, in one flat array."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIDE = 128
LEVELS = 7
"""128, 64, 32, 16, 8, 4, 2 texels a side."""
LEVEL_OFFSETS = np.array([0, *np.cumsum([(SIDE >> i) ** 2 for i in range(LEVELS)])[:-1]], dtype=np.int64)
PATTERN_LENGTH = int(sum((SIDE >> i) ** 2 for i in range(LEVELS)))

Grey = NDArray[np.float32]
_y, _x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE


def _noise(seed: int, cells: int, octaves: int = 3) -> Grey:
    """Tileable value noise in 0 … 1."""
    rng = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros((SIDE, SIDE), np.float32)
    weight = 0.0
    for octave in range(octaves):
        n = cells << octave
        grid = rng.random((n, n), dtype=np.float32)
        fx, fy = _x * n, _y * n
        ix, iy = fx.astype(int) % n, fy.astype(int) % n
        tx, ty = fx % 1, fy % 1
        tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
        jx, jy = (ix + 1) % n, (iy + 1) % n
        top = grid[iy, ix] * (1 - tx) + grid[iy, jx] * tx
        low = grid[jy, ix] * (1 - tx) + grid[jy, jx] * tx
        total += (top * (1 - ty) + low * ty) * 0.5**octave
        weight += 0.5**octave
    return total / weight


def _cells(seed: int, count: int) -> tuple[Grey, Grey]:
    """Distance to the nearest and the second nearest of `count` scattered points, tileable."""
    rng = np.random.Generator(np.random.PCG64(seed))
    points = rng.random((count, 2), dtype=np.float32)
    dx = np.abs(_x[..., None] - points[:, 0])
    dy = np.abs(_y[..., None] - points[:, 1])
    d = np.sort(np.sqrt(np.minimum(dx, 1 - dx) ** 2 + np.minimum(dy, 1 - dy) ** 2), axis=-1)
    return d[..., 0], d[..., 1]


def _as_grey(values: NDArray[np.generic]) -> Grey:
    return np.asarray(values, dtype=np.float32)


def _planks(rows: int, shift: float) -> Grey:
    row = np.floor(_y * rows)
    u = (_x + shift * (row % 3)) % 1
    seam = ((_y * rows) % 1 < 0.05) | (u < 0.012)
    tone = 0.25 + 0.35 * ((row * 0.37 + np.floor(_x + shift * (row % 3)) * 0.21) % 1)
    return _as_grey(np.where(seam, 1.0, tone + 0.15 * _noise(3, 4)))


def _bricks(rows: int, columns: int, line: float) -> Grey:
    row = np.floor(_y * rows)
    u = (_x * columns + 0.5 * (row % 2)) % 1
    return _as_grey(((_y * rows) % 1 < line * rows) | (u < line * columns))


def _grid(count: int, line: float) -> Grey:
    return _as_grey(((_x * count) % 1 < line * count) | ((_y * count) % 1 < line * count))


def _hexes() -> Grey:
    x, y = _x * 6, _y * 6
    d: list[Grey] = []
    for ox, oy in ((0.0, 0.0), (1.0, 0.5)):
        dx = np.abs((x + ox) % 2 - 1)
        dy = np.abs((y + oy) % 1 - 0.5)
        d.append(np.maximum(dx * 0.75, dx * 0.4 + dy).astype(np.float32))
    return _as_grey(np.abs(d[0] - d[1]) < 0.10)


def _tri(t: Grey) -> Grey:
    return _as_grey(np.abs(t % 1 - 0.5) * 2)


_MAKERS: dict[str, Callable[[], Grey]] = {
    "none": lambda: np.zeros_like(_x),
    "grain_fine": lambda: 0.25 * _noise(1, 32, 1),
    "planks": lambda: _planks(6, 0.33),
    "parquet": lambda: (
        np.where((np.floor(_x * 4) + np.floor(_y * 4)) % 2 < 1, ((_x * 16) % 1 < 0.12), ((_y * 16) % 1 < 0.12)).astype(
            np.float32
        )
        * 0.8
        + 0.2 * ((np.floor(_x * 4) + np.floor(_y * 4)) % 2)
    ),
    "wood_lines": lambda: 0.7 * _tri(_y * 8 + 0.6 * _noise(4, 3)) + 0.2 * _noise(5, 24, 1),
    "tiles": lambda: 0.85 * _grid(4, 0.012) + 0.1 * _noise(6, 4),
    "tiles_wide": lambda: 0.85 * _bricks(4, 2, 0.012) + 0.1 * _noise(7, 4),
    "checks": lambda: ((np.floor(_x * 4) + np.floor(_y * 4)) % 2).astype(np.float32),
    "stripes": lambda: ((_x * 8) % 1 < 0.5).astype(np.float32),
    "pinstripes": lambda: 0.8 * ((_x * 8) % 1 < 0.12).astype(np.float32),
    "speckle": lambda: (_noise(8, 32, 1) > 0.72).astype(np.float32) * 0.8,
    "dots": lambda: ((((_x * 6) % 1 - 0.5) ** 2 + ((_y * 6) % 1 - 0.5) ** 2) < 0.07).astype(np.float32),
    "weave": lambda: 0.5 * ((np.floor(_x * 16) + np.floor(_y * 16)) % 2).astype(np.float32) + 0.2 * _noise(9, 16, 1),
    "plaid": lambda: 0.45 * ((_x * 4) % 1 < 0.4) + 0.45 * ((_y * 4) % 1 < 0.4).astype(np.float32),
    "granite": lambda: np.clip(1.6 * _noise(10, 16, 3) - 0.4, 0, 1),
    "blotches": lambda: np.clip((_noise(11, 5, 2) - 0.46) * 9, 0, 1),
    "grill": lambda: np.clip(0.5 + 0.7 * ((_x * 8) % 1 < 0.4) + 0.3 * _noise(12, 8), 0, 1),
    "art_blocks": lambda: ((np.floor(_x * 2) * 2 + np.floor(_y * 3) * 3 + np.floor(_x * 3)) % 4 / 3).astype(np.float32),
    "art_hills": lambda: (
        0.5 * (_y < 0.55 + 0.12 * np.sin(_x * 6.2832)) + 0.5 * (_y < 0.35 + 0.1 * np.cos(_x * 12.566))
    ).astype(np.float32),
    "grain_soft": lambda: 0.35 * _noise(21, 6, 2),
    "herringbone": lambda: (
        np.where(np.floor(_x * 8) % 2 < 1, ((_x + _y) * 8) % 1 < 0.14, ((_x - _y) * 8) % 1 < 0.14).astype(np.float32)
        * 0.8
        + 0.15 * _noise(22, 4)
    ),
    "rings": lambda: _tri(10 * np.hypot(_x - 0.5, _y - 0.5) + 0.5 * _noise(23, 3)),
    "hexes": lambda: 0.85 * _hexes() + 0.1 * _noise(24, 4),
    "tiles_diagonal": lambda: (((_x + _y) * 4 % 1 < 0.08) | ((_x - _y) * 4 % 1 < 0.08)).astype(np.float32),
    "diamonds": lambda: (np.abs((_x * 4) % 1 - 0.5) + np.abs((_y * 4) % 1 - 0.5) < 0.36).astype(np.float32) * 0.8,
    "zigzag": lambda: (((_y * 6 + 0.5 * _tri(_x * 6)) % 1) < 0.5).astype(np.float32),
    "bricks": lambda: 0.9 * _bricks(8, 4, 0.012) + 0.2 * _noise(25, 8, 1),
    "chevron": lambda: 0.8 * (((_x * 8 + _tri(_y * 4)) % 1) < 0.45).astype(np.float32),
    "rings_small": lambda: (np.abs(np.hypot((_x * 5) % 1 - 0.5, (_y * 5) % 1 - 0.5) - 0.32) < 0.08).astype(np.float32),
    "marble": lambda: np.clip(1.0 - 7 * np.abs(_noise(26, 3, 3) - 0.5), 0, 1),
    "terrazzo": lambda: (_cells(27, 90)[0] < 0.022).astype(np.float32),
    "splashes": lambda: (_cells(28, 22)[0] + 0.05 * _noise(29, 8) < 0.085).astype(np.float32),
    "char": lambda: np.clip(0.4 + 1.2 * (_noise(30, 8, 2) - 0.35), 0, 1),
    "art_circles": lambda: ((np.floor(np.hypot(_x - 0.4, _y - 0.6) * 7)) % 3 / 2).astype(np.float32),
    "art_waves": lambda: (np.floor((_y + 0.1 * np.sin(_x * 12.566)) * 5) % 3 / 2).astype(np.float32),
}

NAMES = tuple(_MAKERS)
INDEX = {name: number for number, name in enumerate(NAMES)}


@lru_cache(maxsize=1)
def atlas() -> NDArray[np.float32]:
    """All patterns with their mip levels, (pattern, PATTERN_LENGTH)."""
    out = np.empty((len(NAMES), PATTERN_LENGTH), np.float32)
    for number, name in enumerate(NAMES):
        level = _MAKERS[name]().astype(np.float32)
        for i in range(LEVELS):
            start = int(LEVEL_OFFSETS[i])
            out[number, start : start + level.size] = level.ravel()
            if i + 1 < LEVELS:
                level = 0.25 * (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2])
    return out
