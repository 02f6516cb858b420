"""The shortest way on the grid, with its corners."""

from __future__ import annotations

import heapq
import math

from selu_hpc.sim.thor import navigation
from selu_hpc.sim.thor.builder import Room
from selu_hpc.sim.thor.navigation import Blocks, Point

_STEP = 0.25
_NEAR = 0.2


def shortest(start: Point, goals: list[Point], blocks: Blocks, room: Room) -> list[Point] | None:
    """Corners from start to the nearest goal that can be walked to; None when there is none."""
    if not goals:
        return None
    wanted = {(round((x - start[0]) / _STEP), round((z - start[1]) / _STEP)) for x, z in goals}
    came: dict[tuple[int, int], tuple[int, int]] = {}
    cost = {(0, 0): 0.0}
    queue: list[tuple[float, int, tuple[int, int]]] = [(0.0, 0, (0, 0))]
    num = 0
    while queue:
        spent, _, here = heapq.heappop(queue)
        if here in wanted and not navigation.blocker(*_at(start, here), blocks):
            way = [here]
            while way[-1] in came:
                way.append(came[way[-1]])
            return _corners([_at(start, p) for p in reversed(way)], blocks)
        if spent > cost[here]:
            continue
        for dx, dz in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1)):
            there = (here[0] + dx, here[1] + dz)
            price = spent + math.hypot(dx, dz)
            if price < cost.get(there, math.inf) and not navigation.sweep(_at(start, here), _at(start, there), blocks):
                cost[there], came[there] = price, here
                num += 1
                heapq.heappush(queue, (price, num, there))
    return None


def _at(start: Point, cell: tuple[int, int]) -> Point:
    return (start[0] + cell[0] * _STEP, start[1] + cell[1] * _STEP)


def _corners(way: list[Point], blocks: Blocks) -> list[Point]:
    """Without the points that a straight line can do without."""
    out, i = [way[0]], 0
    while i < len(way) - 1:
        j = len(way) - 1
        while j > i + 1 and navigation.sweep(way[i], way[j], blocks):
            j -= 1
        out.append(way[j])
        i = j
    return out if len(out) > 1 else [way[0], way[0]]
