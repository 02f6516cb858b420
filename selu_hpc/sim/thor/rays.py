"""Rays against boxes, compiled: what a line of sight meets first.

Owns the arithmetic only.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_END = 0.985
"""The share of a line up to which a box hides what is at its end."""


@njit(cache=True, fastmath=False)  # type: ignore[untyped-decorator]
def _enters(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, boxes: Floats, i: int, limit: float
) -> float:
    """How far along (dx, dy, dz) a box begins, 0 from inside it; -1 where the line misses it up to `limit`."""
    t0 = 0.0
    t1 = limit
    for axis in range(3):
        o = ox if axis == 0 else (oy if axis == 1 else oz)
        d = dx if axis == 0 else (dy if axis == 1 else dz)
        low = boxes[i, axis]
        high = boxes[i, axis + 3]
        if abs(d) < 1e-12:
            if o < low or o > high:
                return -1.0
        else:
            a = (low - o) / d
            b = (high - o) / d
            t0 = max(t0, min(a, b))
            t1 = min(t1, max(a, b))
            if t0 > t1:
                return -1.0
    return t0


@njit(cache=True, fastmath=False)  # type: ignore[untyped-decorator]
def first_hit(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, boxes: Floats, owners: Ints, skip: int
) -> tuple[float, int]:
    """How far along (dx, dy, dz) the first box begins, and its index; (inf, -1) for none. Boxes around the origin count
    where the ray leaves them only when it begins inside, so they are passed over."""
    best = np.inf
    which = -1
    for i in range(boxes.shape[0]):
        if owners[i] == skip:
            continue
        t = _enters(ox, oy, oz, dx, dy, dz, boxes, i, best)
        if 1e-9 < t < best:
            best = t
            which = i
    return best, which


@njit(cache=True, fastmath=False)  # type: ignore[untyped-decorator]
def _hidden(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, boxes: Floats, owners: Ints, skip: int
) -> bool:
    """Whether `first_hit` would find a box before the line's end; ends with the first one found."""
    x0, x1 = min(ox, ox + dx), max(ox, ox + dx)
    y0, y1 = min(oy, oy + dy), max(oy, oy + dy)
    z0, z1 = min(oz, oz + dz), max(oz, oz + dz)
    for i in range(boxes.shape[0]):
        if owners[i] == skip or boxes[i, 0] > x1 or boxes[i, 3] < x0 or boxes[i, 2] > z1 or boxes[i, 5] < z0:
            continue
        if boxes[i, 1] > y1 or boxes[i, 4] < y0:
            continue
        if _enters(ox, oy, oz, dx, dy, dz, boxes, i, _END) > 1e-9:
            return True
    return False


@njit(cache=True)  # type: ignore[untyped-decorator]
def point_seen(
    eye: Floats, axes: Floats, tan_x: float, tan_y: float, foot: Floats, reach: float,
    px: float, py: float, pz: float, who: int, boxes: Floats, owners: Ints,
) -> bool:  # fmt: skip
    """Whether a point of `who` is in reach, in the frustum and not hidden by other boxes.

    What is behind the body is out of reach, even where a camera that looks down sees it."""
    fx = px - foot[0]
    fz = pz - foot[2]
    if fx * fx + fz * fz > reach * reach or fz * axes[0, 0] - fx * axes[0, 2] < -0.02:
        return False
    dx = px - eye[0]
    dy = py - eye[1]
    dz = pz - eye[2]
    ahead = dx * axes[2, 0] + dy * axes[2, 1] + dz * axes[2, 2]
    if ahead < 0.02:
        return False
    right = dx * axes[0, 0] + dy * axes[0, 1] + dz * axes[0, 2]
    up = dx * axes[1, 0] + dy * axes[1, 1] + dz * axes[1, 2]
    if abs(right) > tan_x * ahead or abs(up) > tan_y * ahead:
        return False
    return not _hidden(eye[0], eye[1], eye[2], dx, dy, dz, boxes, owners, who)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _within(eye: Floats, foot: Floats, reach: float, boxes: Floats, owners: Ints) -> tuple[Floats, Ints]:
    """The boxes that a line from the eye to a point in reach can touch, in their order."""
    slack = reach + 0.1
    x0, x1 = min(eye[0], foot[0]) - slack, max(eye[0], foot[0]) + slack
    z0, z1 = min(eye[2], foot[2]) - slack, max(eye[2], foot[2]) + slack
    near, whose = np.empty_like(boxes), np.empty_like(owners)
    num = 0
    for i in range(boxes.shape[0]):
        if boxes[i, 0] <= x1 and boxes[i, 3] >= x0 and boxes[i, 2] <= z1 and boxes[i, 5] >= z0:
            for k in range(6):
                near[num, k] = boxes[i, k]
            whose[num] = owners[i]
            num += 1
    return near[:num], whose[:num]


@njit(cache=True)  # type: ignore[untyped-decorator]
def seen_owners(
    eye: Floats, axes: Floats, tan_x: float, tan_y: float, foot: Floats, reach: float,
    points: Floats, point_owner: Ints, boxes: Floats, owners: Ints, num: int,
) -> Ints:  # fmt: skip
    """For each owner 0 … num-1: 1 when one of its points is seen."""
    out = np.zeros(num, np.int64)
    boxes, owners = _within(eye, foot, reach, boxes, owners)
    for p in range(points.shape[0]):
        who = point_owner[p]
        fx = points[p, 0] - foot[0]
        fz = points[p, 2] - foot[2]
        # Most points are out of reach: what `point_seen` looks at first, without the call.
        if out[who] or fx * fx + fz * fz > reach * reach:
            continue
        if point_seen(
            eye, axes, tan_x, tan_y, foot, reach, points[p, 0], points[p, 1], points[p, 2], who, boxes, owners
        ):
            out[who] = 1
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def poses_seeing(
    eyes: Floats, turns: Ints, all_axes: Floats, tan_x: float, tan_y: float, reach: float,
    points: Floats, who: int, boxes: Floats, owners: Ints, most: int,
) -> Ints:  # fmt: skip
    """For each pose (an eye, and which of all_axes it looks along): 1 when it sees a point of `who`, `most` at most."""
    out = np.zeros(eyes.shape[0], np.int64)
    found = 0
    for i in range(eyes.shape[0]):
        for p in range(points.shape[0]):
            if point_seen(
                eyes[i], all_axes[turns[i]], tan_x, tan_y, eyes[i], reach,
                points[p, 0], points[p, 1], points[p, 2], who, boxes, owners,
            ):  # fmt: skip
                out[i] = 1
                found += 1
                break
        if found >= most:
            break
    return out
