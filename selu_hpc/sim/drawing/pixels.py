"""Pixels as the client wants them: bottom row first, with an alpha channel. Compiled; owns nothing else."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def opaque(rgb: NDArray[np.uint8]) -> bytes:
    """RGBA, alpha 255, the bottom row first."""
    out = np.empty((*rgb.shape[:2], 4), np.uint8)
    _fill(rgb, out)
    return out.tobytes()


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fill(rgb: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    height, width = rgb.shape[0], rgb.shape[1]
    for row in range(height):
        for column in range(width):
            out[height - 1 - row, column, 0] = rgb[row, column, 0]
            out[height - 1 - row, column, 1] = rgb[row, column, 1]
            out[height - 1 - row, column, 2] = rgb[row, column, 2]
            out[height - 1 - row, column, 3] = 255
