"""Trajectory storage: our store against npz, HDF5, WebDataset tar and unsharded Zarr, lossless, on the same frames.

    python benchmarks/store.py [--quick] [--folder WHERE]

Sides take turns on the same episodes (11 frames, 2 views, 300x300) and the best of the rounds counts. All are equally
durable: every file a side wrote, and its folder, is fsynced before its clock stops; ours does that itself, for the
others the benchmark does, one fsync a file at the end, which favours them. Reads are warm. A step read is both views
of one random step with everything that can be kept open kept open: offsets into the tar are known in advance.

scenes: smooth, lightly noisy scenes seen by a moving camera; the targets are about these.
stand_in: episodes of the built-in simulator, whose pictures have hardly any noise; reported beside them.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import webdataset
import zarr
from _report import exit_code, report
from PIL import Image

from selu_hpc.records import Action, Ended, Episode, Goal, Task, View
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter

T, V, SIZE = 10, 2, 300
SHARD = 64
GROUP = 10
Frames = list[np.ndarray]


@dataclass
class Side:
    """One way of storing episodes; `step` and `all` read from what `open` gave."""

    name: str
    write: Callable[[Path, Frames], None]
    open: Callable[[Path], AbstractContextManager[Any]]
    step: Callable[[Any, int, int], np.ndarray]
    episode: Callable[[Any, int], np.ndarray]
    syncs_itself: bool = False


def write_ours(folder: Path, episodes: Frames) -> None:
    height, width = episodes[0].shape[2:4]
    with EpisodeWriter(folder / "episodes.zarr", num_steps=T, height=height, width=width) as writer:
        for index, frames in enumerate(episodes):
            writer.append(as_episode(index, frames))
        writer.finish()


def as_episode(index: int, frames: np.ndarray) -> Episode:
    return Episode(
        episode_id=f"e{index:04d}",
        seed=index,
        task=Task(instruction="pick up the apple", scene="FloorPlan1", goals=(Goal(verb="pick up", target="Apple"),)),
        actions=tuple(Action(text="Move ahead.", parsed="move ahead", ok=True) for _ in frames[1:]),
        ended=Ended.LIMIT,
        model="none",
        adapter="none",
        frames_tvhwc=frames,
        timestamps_s=tuple(float(t) for t in range(len(frames))),
    )


def step_ours(reader: EpisodeReader, index: int, step: int) -> np.ndarray:
    return np.stack([reader.frame(index, step, view) for view in View])


def write_npz(folder: Path, episodes: Frames) -> None:
    """One compressed file an episode."""
    for index, frames in enumerate(episodes):
        np.savez_compressed(folder / f"e{index:04d}.npz", frames=frames, meta=np.array(str(index)))


def read_npz(folder: Path, index: int) -> np.ndarray:
    with np.load(folder / f"e{index:04d}.npz") as file:
        return file["frames"]


def write_hdf5(folder: Path, episodes: Frames) -> None:
    """gzip-1 + shuffle, a chunk a frame, ten episodes a file."""
    for first in range(0, len(episodes), GROUP):
        with h5py.File(folder / f"g{first // GROUP:04d}.h5", "w") as file:
            for index, frames in enumerate(episodes[first : first + GROUP]):
                chunks = (1, 1, *frames.shape[2:])
                file.create_dataset(
                    f"{index}", data=frames, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
                )


class Hdf5:
    def __init__(self, folder: Path) -> None:
        self.files = [h5py.File(path) for path in sorted(folder.glob("*.h5"))]

    def __getitem__(self, index: int) -> h5py.Dataset:
        return self.files[index // GROUP][str(index % GROUP)]

    def close(self) -> None:
        for file in self.files:
            file.close()


def write_tar(folder: Path, episodes: Frames) -> None:
    """WebDataset's tar of PNG files."""
    for first in range(0, len(episodes), GROUP):
        with webdataset.TarWriter(str(folder / f"g{first // GROUP:04d}.tar"), encoder=False) as tar:
            for index, frames in enumerate(episodes[first : first + GROUP], start=first):
                sample: dict[str, Any] = {"__key__": f"e{index:04d}", "json": b"{}"}
                for t, v in np.ndindex(frames.shape[:2]):
                    file = io.BytesIO()
                    Image.fromarray(frames[t, v]).save(file, "PNG")
                    sample[f"{t}-{v}.png"] = file.getvalue()
                tar.write(sample)


class Tar:
    def __init__(self, folder: Path) -> None:
        self.files = []
        self.places: dict[tuple[int, int, int], tuple[int, int, int]] = {}
        for number, path in enumerate(sorted(folder.glob("*.tar"))):
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.endswith(".png"):
                        episode, t_v = member.name.removesuffix(".png").split(".")
                        t, v = t_v.split("-")
                        self.places[int(episode[1:]), int(t), int(v)] = (number, member.offset_data, member.size)
            self.files.append(path.open("rb"))

    def read(self, index: int, t: int, v: int) -> np.ndarray:
        number, offset, size = self.places[index, t, v]
        data = os.pread(self.files[number].fileno(), size, offset)
        return np.asarray(Image.open(io.BytesIO(data)))

    def episode(self, index: int) -> np.ndarray:
        steps = max(t for i, t, _ in self.places if i == index) + 1
        return np.stack([np.stack([self.read(index, t, v) for v in range(V)]) for t in range(steps)])

    def close(self) -> None:
        for file in self.files:
            file.close()


def write_zarr(folder: Path, episodes: Frames) -> None:
    """Without shards: a chunk a frame, zarr-python's defaults otherwise."""
    shape = (len(episodes), T + 1, V, *episodes[0].shape[2:])
    array = zarr.create_array(
        folder / "frames.zarr",
        shape=shape,
        chunks=(1, 1, 1, *shape[3:]),
        dtype="uint8",
        compressors=zarr.codecs.ZstdCodec(level=1),
    )
    for index, frames in enumerate(episodes):
        array[index, : len(frames)] = frames


SIDES = [
    Side(
        "ours", write_ours, lambda folder: EpisodeReader(folder / "episodes.zarr", verify=False),
        step_ours, lambda reader, index: reader.frames(index), syncs_itself=True,
    ),
    Side(
        "npz", write_npz, nullcontext,
        lambda folder, index, step: read_npz(folder, index)[step], read_npz,
    ),
    Side(
        "hdf5", write_hdf5, lambda folder: closing(Hdf5(folder)),
        lambda files, index, step: files[index][step], lambda files, index: files[index][:],
    ),
    Side(
        "tar", write_tar, lambda folder: closing(Tar(folder)),
        lambda tar, index, step: np.stack([tar.read(index, step, v) for v in range(V)]),
        lambda tar, index: tar.episode(index),
    ),
    Side(
        "zarr", write_zarr, lambda folder: nullcontext(zarr.open_array(folder / "frames.zarr", mode="r")),
        lambda array, index, step: array[index, step], lambda array, index: array[index],
    ),
]  # fmt: skip


def measure(side: Side, folder: Path, episodes: Frames, *, reads: int) -> dict[str, float]:
    """One turn of a side: write, sync, read at random, read all; everything read is compared."""
    raw = sum(frames.nbytes for frames in episodes)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    began = time.perf_counter()
    side.write(folder, episodes)
    if not side.syncs_itself:
        sync(folder)
    write_s = time.perf_counter() - began
    rng = random.Random(0)
    step_s = []
    with side.open(folder) as opened:
        for _ in range(reads):
            index = rng.randrange(len(episodes))
            step = rng.randrange(len(episodes[index]))
            began = time.perf_counter()
            found = side.step(opened, index, step)
            step_s.append(time.perf_counter() - began)
            assert np.array_equal(found, episodes[index][step]), f"{side.name}: a step is not what was written"
    sequential_s = 0.0
    with side.open(folder) as opened:
        for index, frames in enumerate(episodes):
            began = time.perf_counter()
            found = side.episode(opened, index)
            sequential_s += time.perf_counter() - began
            assert np.array_equal(found[: len(frames)], frames), f"{side.name}: an episode is not what was written"
    return {
        "write_mb_s": raw / write_s / 1e6,
        "mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6,
        "step_read_ms": statistics.median(step_s) * 1e3,
        "sequential_mb_s": raw / sequential_s / 1e6,
    }


def sync(folder: Path) -> None:
    """What our writer does for itself: every file and every folder on disk."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def compare(episodes: Frames, folder: Path, *, rounds: int, reads: int, limit_s: float) -> dict[str, dict[str, float]]:
    """Every side in turn, several times where the time allows; the best of each figure."""
    best: dict[str, dict[str, float]] = {}
    began = time.monotonic()
    for number in range(rounds):
        if number and (time.monotonic() - began) * (number + 1) / number > limit_s:
            break
        for side in SIDES:
            found = measure(side, folder / side.name, episodes, reads=reads)
            old = best.setdefault(side.name, found)
            best[side.name] = {
                key: (max if key.endswith("mb_s") else min)(value, old[key]) for key, value in found.items()
            }
    return best


def count_files(folder: Path) -> dict[str, int]:
    """Files and folders a shard of 64 episodes takes; the pictures' size does not matter for that."""
    episodes = [np.zeros((T + 1, V, 32, 32, 3), np.uint8) + np.uint8(index + 1) for index in range(SHARD)]
    counts = {}
    for side in SIDES:
        (folder / side.name).mkdir(parents=True)
        side.write(folder / side.name, episodes)
        counts[side.name] = sum(path.is_file() for path in (folder / side.name).rglob("*"))
    return counts


def scenes(count: int, *, seed: int = 0) -> Frames:
    """Smooth scenes with boxes, a moving camera and a little sensor noise."""
    return [_scene(np.random.default_rng((seed, index))) for index in range(count)]


def _scene(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:SIZE, 0 : SIZE + 5 * T * 2].astype(np.float32)
    wide = np.full((*x.shape, 3), 128, np.float32)
    for c in range(3):
        for _ in range(5):
            a, b = rng.uniform(-0.02, 0.02, 2)
            wide[..., c] += rng.uniform(5, 30) * np.sin(a * x + b * y + rng.uniform(0, 6.28))
    for _ in range(8):
        top, left = rng.integers(0, SIZE - 60), rng.integers(0, x.shape[1] - 60)
        box = wide[top : top + rng.integers(20, 60), left : left + rng.integers(20, 60)]
        box[:] = box * 0.3 + rng.integers(0, 255, 3) * 0.7
    frames = np.empty((T + 1, V, SIZE, SIZE, 3), np.uint8)
    for t, v in np.ndindex(T + 1, V):
        shift = 5 * t * (v + 1)
        noise = rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32)
        frames[t, v] = np.clip(wide[:, shift : shift + SIZE] + noise, 0, 255)
    return frames


def stand_in(count: int) -> Frames:
    """Episodes of scripted actors in the built-in simulator, of different lengths."""
    from selu_hpc.config import EnvConfig
    from selu_hpc.envs.expert import Policy, play
    from selu_hpc.envs.splits import train_scenes
    from selu_hpc.envs.tasks import sample_tasks
    from selu_hpc.envs.thor.local import world_environment

    config = EnvConfig(width=SIZE, height=SIZE)
    environment = world_environment(config)
    episodes = []
    for seed, task in enumerate(sample_tasks(config, scenes=train_scenes(config), count=count, seed=0)):
        played = play(environment, task, seed=seed, policy=list(Policy)[seed % len(Policy)], horizon=T)
        seen = [played.first, *(result.observation for result in played.results)]
        episodes.append(np.stack([np.stack([look.first_person, look.third_person]) for look in seen]))
    return episodes


TARGETS = {
    "size_npz_vs_ours": ">=1.6",
    "size_hdf5_vs_ours": ">=1.6",
    "write_ours_vs_npz": ">=3",
    "write_ours_vs_hdf5": ">=1.8",
    "step_read_ours_vs_npz": ">=5",
    "sequential_ours_vs_npz": ">=1",
    "sequential_ours_vs_hdf5": ">=1",
    "sequential_ours_vs_tar": ">=1",
    "files_npz_vs_ours": ">=5",
    "files_zarr_vs_ours": ">=100",
}


def ratios_of(found: dict[str, dict[str, float]]) -> dict[str, float]:
    ours = found["ours"]
    ratios = {}
    for name, other in found.items():
        if name != "ours":
            ratios[f"size_{name}_vs_ours"] = other["mb"] / ours["mb"]
            ratios[f"write_ours_vs_{name}"] = ours["write_mb_s"] / other["write_mb_s"]
            ratios[f"step_read_ours_vs_{name}"] = other["step_read_ms"] / ours["step_read_ms"]
            ratios[f"sequential_ours_vs_{name}"] = ours["sequential_mb_s"] / other["sequential_mb_s"]
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer episodes; ends within 50 seconds")
    parser.add_argument("--folder", type=Path, help="where to write; a file system with the speed you care about")
    options = parser.parse_args()
    if options.folder and not options.folder.is_dir():
        parser.error(f"--folder {options.folder}: no such folder; make it, or name another")
    warnings.filterwarnings("ignore", category=UserWarning, module="zarr")
    num_episodes, rounds, reads, limit_s = (4, 3, 10, 12.0) if options.quick else (32, 3, 100, 240.0)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        counts = count_files(folder / "counts")
        data = {"scenes": scenes(num_episodes), "stand_in": stand_in(num_episodes)}
        found = {}
        for name, episodes in data.items():
            (folder / name).mkdir()
            found[name] = compare(episodes, folder / name, rounds=rounds, reads=reads, limit_s=limit_s)
            print_table(name, episodes, found[name])
    ratios = ratios_of(found["scenes"])
    ratios |= {f"files_{name}_vs_ours": count / counts["ours"] for name, count in counts.items() if name != "ours"}
    ratios |= {f"stand_in_{name}": value for name, value in ratios_of(found["stand_in"]).items()}
    measures = {
        **{
            name: {side: {k: round(v, 2) for k, v in m.items()} for side, m in by.items()} for name, by in found.items()
        },
        "files_per_64_episodes": counts,
    }
    return exit_code(report("store", measures=measures, ratios=ratios, targets=TARGETS))


def print_table(name: str, episodes: Frames, found: dict[str, dict[str, float]]) -> None:
    raw = sum(frames.nbytes for frames in episodes) / 1e6
    print(f"\n{name}: {len(episodes)} episodes, {raw:.0f} MB of {SIZE}x{SIZE} frames")
    print(f"{'':8}{'write MB/s':>12}{'MB':>10}{'ratio':>8}{'step ms':>10}{'seq MB/s':>10}")
    for side, m in found.items():
        print(
            f"{side:8}{m['write_mb_s']:12.0f}{m['mb']:10.1f}{raw / m['mb']:8.2f}"
            f"{m['step_read_ms']:10.2f}{m['sequential_mb_s']:10.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
