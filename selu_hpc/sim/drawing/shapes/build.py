"""Modelling with boxes, lathes, rods and prisms: collects triangles with normals, texture coordinates and materials.

Coordinates are metres in the object's own frame: x right, y up from the bottom's centre, +z is the front.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing.skins import RGB
from selu_hpc.sim.drawing.textures import INDEX

Point = tuple[float, float, float]
Floats = NDArray[np.float32]
_CREASE_COSINE = 0.6


@dataclass(frozen=True, slots=True)
class Paint:
    """A material: colours a and b mixed by a texture that repeats `scale` times a metre.

    glow: light of its own, 1 for a lit screen.  shade: darkening of an inside.  clean: dirt does not show on it.
    """

    a: RGB
    b: RGB = (0.0, 0.0, 0.0)
    tex: str = "none"
    scale: float = 1.0
    glow: float = 0.0
    shade: float = 1.0
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles: positions and normals (N, 3, 3), uv (N, 3, 2) in texture repeats, and materials per triangle."""

    position: Floats
    normal: Floats
    uv: Floats
    shade: Floats
    colours: Floats
    texture: Floats
    density: Floats
    glow: Floats
    two_sided: Floats

    def __len__(self) -> int:
        return len(self.position)


class Mesher:
    """Collects primitives; `mesh()` gives the result."""

    def __init__(self) -> None:
        self._parts: list[tuple[Floats, Floats, Floats, Paint, bool]] = []
        self._matrix: NDArray[np.float64] = np.eye(4)
        self._identity = True
        self.overlay: Paint | None = None
        self.darken = 1.0

    @contextmanager
    def frame(
        self, at: Point = (0, 0, 0), *, yaw: float = 0, pitch: float = 0, roll: float = 0, scale: float | Point = 1
    ) -> Iterator[None]:
        """Primitives inside are scaled, rolled about z, pitched about x, turned about y, then moved to `at`."""
        before, was_identity = self._matrix, self._identity
        local = np.eye(4)
        sy, cy = math.sin(math.radians(yaw)), math.cos(math.radians(yaw))
        sp, cp = math.sin(math.radians(pitch)), math.cos(math.radians(pitch))
        sr, cr = math.sin(math.radians(roll)), math.cos(math.radians(roll))
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        spin = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        local[:3, :3] = turn @ tilt @ spin @ np.diag(scale if isinstance(scale, tuple) else (scale,) * 3)
        local[:3, 3] = at
        self._matrix, self._identity = before @ local, False
        try:
            yield
        finally:
            self._matrix, self._identity = before, was_identity

    def add(self, paint: Paint, position: Floats, normal: Floats, uv: Floats, *, two_sided: bool = False) -> None:
        """Add triangles in the current frame."""
        if not self._identity:
            linear = self._matrix[:3, :3]
            position = (position @ linear.T + self._matrix[:3, 3]).astype(np.float32)
            normal = normal @ np.linalg.inv(linear)
            normal = (normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)).astype(np.float32)
        if not paint.clean:
            if self.overlay is not None:
                o = self.overlay
                paint = replace(paint, b=o.b, tex=o.tex, scale=o.scale)
            if self.darken != 1.0:
                r, g, b = paint.a
                paint = replace(paint, a=(r * self.darken, g * self.darken, b * self.darken))
        self._parts.append((position, normal, uv, paint, two_sided))

    def box(self, paint: Paint, low: Point, high: Point, faces: str = "xXyYzZ") -> None:
        """An axis-aligned box; `faces` names the ones to draw, capitals are the high sides."""
        corners, normals, axes = _unit_box(faces)
        lo = np.array(low, np.float32)
        extent = np.array(high, np.float32) - lo
        position = corners * extent + lo
        uv = np.take_along_axis(position, axes, axis=2)
        self.add(paint, position, normals, uv)

    def cavity(self, paint: Paint, low: Point, high: Point, faces: str = "xXyYz") -> None:
        """The inside of a box: faces that look inwards."""
        corners, normals, axes = _unit_box(faces)
        lo = np.array(low, np.float32)
        position = corners * (np.array(high, np.float32) - lo) + lo
        self.add(paint, position, -normals, np.take_along_axis(position, axes, axis=2))

    def panel(self, paint: Paint, low: Point, high: Point, cells: int, faces: str) -> None:
        """A box whose faces are cut into cells, so that light can vary over it."""
        lo, hi = np.array(low), np.array(high)
        for name in faces:
            axis = "xyz".index(name.lower())
            u_axis, v_axis = [i for i in range(3) if i != axis]
            fixed = hi[axis] if name.isupper() else lo[axis]
            nu = max(1, min(cells, round(float(hi[u_axis] - lo[u_axis]) / 0.4)))
            nv = max(1, min(cells, round(float(hi[v_axis] - lo[v_axis]) / 0.4)))
            us = np.linspace(lo[u_axis], hi[u_axis], nu + 1)
            vs = np.linspace(lo[v_axis], hi[v_axis], nv + 1)
            grid = np.zeros((nu + 1, nv + 1, 3), np.float32)
            grid[..., axis] = fixed
            grid[..., u_axis] = us[:, None]
            grid[..., v_axis] = vs[None, :]
            normal = np.zeros(3, np.float32)
            normal[axis] = 1 if name.isupper() else -1
            position = _grid_triangles(grid)
            uv = position[..., [2, 1]] if axis == 0 else position[..., [0, 2]] if axis == 1 else position[..., [0, 1]]
            self.add(paint, position, np.broadcast_to(normal, position.shape).astype(np.float32), uv)

    def lathe(
        self,
        paint: Paint,
        profile: Sequence[tuple[float, float]],
        *,
        at: Point = (0, 0, 0),
        segments: int = 12,
        squash: float = 1.0,
        start: float = 0.0,
        sweep: float = 360.0,
    ) -> None:
        """A surface of revolution about y through `at`: (radius, height) from the bottom, outside first."""
        r, y = np.array(profile, np.float64).T
        along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(r), np.diff(y)))])
        angle = np.radians(start + np.linspace(0.0, sweep, segments + 1))
        dr, dy = np.diff(r), np.diff(y)
        length = np.maximum(np.hypot(dr, dy), 1e-12)
        flat = np.stack([dy / length, -dr / length], 1)
        first, last = flat.copy(), flat.copy()
        for i in range(len(flat) - 1):
            if float(flat[i] @ flat[i + 1]) > _CREASE_COSINE:
                mean = flat[i] + flat[i + 1]
                mean /= np.linalg.norm(mean)
                last[i] = first[i + 1] = mean
        s, c = np.sin(angle), np.cos(angle)

        def ring(radius: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack(
                [radius[:, None] * s, np.broadcast_to(height[:, None], (len(radius), len(s))), radius[:, None] * c], -1
            )

        def quads(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
            a, b, d, e = low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1]
            both = np.stack([np.stack([a, b, d], 2), np.stack([a, d, e], 2)], 2)
            return both.reshape(-1, 3, low.shape[-1])

        position = quads(ring(r[:-1], y[:-1]), ring(r[1:], y[1:]))
        normal = quads(ring(first[:, 0], first[:, 1]), ring(last[:, 0], last[:, 1]))
        around = np.radians(sweep) * max(float(r.max()), 1e-3) * np.linspace(0, 1, segments + 1)
        uv_low = np.stack(
            [np.broadcast_to(around, (len(dr), segments + 1)), np.repeat(along[:-1, None], segments + 1, 1)], -1
        )
        uv_high = np.stack(
            [np.broadcast_to(around, (len(dr), segments + 1)), np.repeat(along[1:, None], segments + 1, 1)], -1
        )
        uv = quads(uv_low, uv_high)
        position[..., 2] *= squash
        area = np.linalg.norm(np.cross(position[:, 1] - position[:, 0], position[:, 2] - position[:, 0]), axis=1)
        keep = area > 1e-10
        self.add(
            paint,
            (position[keep] + np.array(at)).astype(np.float32),
            normal[keep].astype(np.float32),
            uv[keep].astype(np.float32),
        )

    def ball(
        self, paint: Paint, at: Point, radius: float | Point, *, segments: int = 12, rings: int = 6, top: float = 180.0
    ) -> None:
        """An ellipsoid, or its lower part up to the polar angle `top`."""
        rx, ry, rz = radius if isinstance(radius, tuple) else (radius,) * 3
        polar = np.radians(np.linspace(0.0, top, rings + 1))
        profile = [(math.sin(p), -math.cos(p)) for p in polar]
        with self.frame(at, scale=(rx, ry, rz)):
            self.lathe(replace(paint, scale=paint.scale * max(rx, 1e-3)), profile, segments=segments)

    def rod(
        self, paint: Paint, start: Point, end: Point, radius: float, end_radius: float | None = None, segments: int = 6
    ) -> None:
        """A cylinder or cone between two points, with ends."""
        a, b = np.array(start, float), np.array(end, float)
        length = float(np.linalg.norm(b - a))
        if length < 1e-6:
            return
        axis = (b - a) / length
        pitch = math.degrees(math.acos(max(-1.0, min(1.0, float(axis[1])))))
        yaw = math.degrees(math.atan2(float(axis[0]), float(axis[2])))
        other = radius if end_radius is None else end_radius
        with self.frame(start, yaw=yaw, pitch=pitch):
            self.lathe(paint, [(0, 0), (radius, 0), (other, length), (0, length)], segments=segments)

    def path(self, paint: Paint, points: Sequence[Point], radius: float, segments: int = 6) -> None:
        """Rods through points."""
        for a, b in pairwise(points):
            self.rod(paint, a, b, radius, segments=segments)

    def disc(self, paint: Paint, at: Point, radius: float, *, squash: float = 1.0, segments: int = 12) -> None:
        """A flat disc that faces up."""
        self.lathe(paint, [(radius, 0), (0, 0)], at=at, segments=segments, squash=squash)

    def polygon(self, paint: Paint, points: Sequence[Point], normal: Point, *, two_sided: bool = False) -> None:
        """A flat convex polygon."""
        p = np.array(points, np.float32)
        index = np.array([(0, i, i + 1) for i in range(1, len(p) - 1)])
        position = p[index]
        n = np.array(normal, np.float32)
        n /= np.linalg.norm(n)
        axis = int(np.argmax(np.abs(n)))
        uv = position[..., [i for i in range(3) if i != axis]]
        self.add(paint, position, np.broadcast_to(n, position.shape).astype(np.float32), uv, two_sided=two_sided)

    def prism(self, paint: Paint, outline: Sequence[tuple[float, float]], low: float, high: float) -> None:
        """A convex (x, y) outline, drawn out along z."""
        points = np.array(outline, np.float64)
        centre = points.mean(0)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
            n = np.array([y1 - y0, x0 - x1])
            n = n / max(float(np.linalg.norm(n)), 1e-9)
            if float(n @ (np.array([x0 + x1, y0 + y1]) / 2 - centre)) < 0:
                n = -n
            self.polygon(
                paint, [(x0, y0, low), (x1, y1, low), (x1, y1, high), (x0, y0, high)], (float(n[0]), float(n[1]), 0)
            )
        self.polygon(paint, [(x, y, high) for x, y in outline], (0, 0, 1))
        self.polygon(paint, [(x, y, low) for x, y in outline], (0, 0, -1))

    def mesh(self, height: float, *, floor_shade: float = 0.8) -> Mesh:
        """Everything collected; vertices near the bottom of `height` are darkened to `floor_shade`."""
        if not self._parts:
            raise AssertionError("a shape drew nothing")
        counts = [len(part[0]) for part in self._parts]
        position = np.concatenate([part[0] for part in self._parts])
        paints = [part[3] for part in self._parts]

        def spread(values: list[object]) -> Floats:
            return np.repeat(np.array(values, np.float32), counts, axis=0)

        scale = spread([p.scale for p in paints])
        rise = np.clip(position[..., 1] / max(height, 1e-3), 0, 1)
        shade = (floor_shade + (1 - floor_shade) * np.sqrt(rise)) * spread([p.shade for p in paints])[:, None]
        return Mesh(
            position=position,
            normal=np.concatenate([part[1] for part in self._parts]),
            uv=np.concatenate([part[2] for part in self._parts]) * scale[:, None, None],
            shade=shade.astype(np.float32),
            colours=spread([(*p.a, *p.b) for p in paints]),
            texture=spread([INDEX[p.tex] for p in paints]),
            density=scale,
            glow=spread([p.glow for p in paints]),
            two_sided=spread([part[4] for part in self._parts]),
        )


def _grid_triangles(grid: Floats) -> Floats:
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    return np.stack([np.stack([a, b, c], 2), np.stack([a, c, d], 2)], 2).reshape(-1, 3, 3)


@cache
def _unit_box(faces: str) -> tuple[Floats, Floats, NDArray[np.int64]]:
    corners, normals, axes = [], [], []
    for name in faces:
        axis = "xyz".index(name.lower())
        u, v = ((2, 1), (0, 2), (0, 1))[axis]
        square = np.zeros((4, 3), np.float32)
        square[:, axis] = 1 if name.isupper() else 0
        square[:, u] = (0, 1, 1, 0)
        square[:, v] = (0, 0, 1, 1)
        normal = np.zeros(3, np.float32)
        normal[axis] = 1 if name.isupper() else -1
        for index in ((0, 1, 2), (0, 2, 3)):
            corners.append(square[list(index)])
            normals.append(np.tile(normal, (3, 1)))
            axes.append(np.tile([u, v], (3, 1)))
    return np.array(corners, np.float32), np.array(normals, np.float32), np.array(axes)
