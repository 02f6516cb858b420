"""Makes episodes from a number alone: the same in a test and in a writer that a test kills."""

from __future__ import annotations

import time

import numpy as np

from selu_hpc.records import Action, Ended, Episode, Goal, Task

NUM_STEPS, HEIGHT, WIDTH = 6, 24, 20
SIZE = {"num_steps": NUM_STEPS, "height": HEIGHT, "width": WIDTH, "episodes_per_chunk_shard": 4}


def make_frames(seed: int, num_frames: int, *, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Noise at first, then frames that repeat earlier ones but for a spot, so that every kind of base occurs."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (num_frames, 2, height, width, 3), dtype=np.uint8)
    for t in range(1, num_frames):
        if rng.random() < 0.5:
            frames[t] = frames[rng.integers(0, t)]
            frames[t, :, : height // 4, : width // 4] += np.uint8(1)
        elif rng.random() < 0.5:
            frames[t] = frames[t, :, :, :, :1] // 16
    return frames


def make_episode(index: int, *, num_steps: int | None = None) -> Episode:
    steps = index % (NUM_STEPS + 1) if num_steps is None else num_steps
    return Episode(
        episode_id=f"r01-s0000-e{index:04d}",
        seed=index,
        task=Task(instruction="pick up the äpple", scene="FloorPlan1", goals=(Goal(verb="pick up", target="Apple"),)),
        actions=tuple(
            Action(text=f"Step {i}.\n", parsed="move", ok=i % 2 == 0, error="no" * (i % 2)) for i in range(steps)
        ),
        ended=Ended.DONE if steps < NUM_STEPS else Ended.LIMIT,
        model="pocket@0",
        adapter="none",
        frames_tvhwc=make_frames(index, steps + 1),
        timestamps_s=tuple(time.time() + t for t in range(steps + 1)),
    )
