"""The lines of docs/store.md read a store where this package does not exist; so does tensorstore."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_episodes import SIZE, make_episode

from selu_hpc.records import Episode
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter

DOCS = Path(__file__).resolve().parents[2] / "docs/store.md"
WITHOUT_US = f"""
import sys
sys.path.append({sysconfig.get_path("purelib")!r})
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "selu_hpc":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
try:
    import selu_hpc
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("selu_hpc is here")
store, i, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
"""


def without_us(code: str, *arguments: object) -> str:
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", WITHOUT_US + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines_of_the_page() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("codec", ["lossless", "jpeg"])
def test_the_pages_lines_read_an_episode(tmp_path: Path, episodes: list[Episode], codec: str) -> None:
    store = tmp_path / "an épisode's.zarr"
    with EpisodeWriter(store, codec=codec, **SIZE) as writer:
        for episode in episodes:
            writer.append(episode)
        writer.finish()
    save = "numpy.savez(out, frames=frames); print(json.dumps([record, sys.modules.get('selu_hpc')]))\n"
    code = lines_of_the_page()[["lossless", "jpeg"].index(codec)]
    reader = EpisodeReader(store)
    for index in (6, 13, 20):
        said = without_us(code + save, store, index, tmp_path / "out.npz")
        record, package = json.loads(said)
        with np.load(tmp_path / "out.npz") as found:
            np.testing.assert_array_equal(found["frames"], reader.frames(index))
        assert {key: record[key] for key in reader.meta(index)} == reader.meta(index)
        assert package is None


def test_the_pages_lines_read_timestamps(tmp_path: Path) -> None:
    episode = replace(make_episode(3), timestamps_s=(1.5, 2.5, 4.0, 8.25))
    with EpisodeWriter(tmp_path / "e.zarr", **SIZE) as writer:
        writer.append(episode)
        writer.finish()
    said = without_us(lines_of_the_page()[0] + "print(times.tolist())", tmp_path / "e.zarr", 0, "-")
    assert json.loads(said) == list(episode.timestamps_s)


def test_tensorstore_reads_the_same_rows_as_zarr(tmp_path: Path, episodes: list[Episode]) -> None:
    with EpisodeWriter(tmp_path / "e.zarr", **SIZE) as writer:
        for episode in episodes:
            writer.append(episode)
        writer.finish()
    code = """
import tensorstore, zarr
for name in ("frames", "episodes", "timestamps_s"):
    kvstore = {"driver": "file", "path": f"{store}/{name}/"}
    ours = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result().read().result()
    theirs = zarr.open_array(f"{store}/{name}", mode="r")[:]
    assert ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes(), name
    print(name, ours.shape)
"""
    assert without_us(code, tmp_path / "e.zarr", 0, "-").startswith("frames (23, 7, 2, 24, 20, 3)\nepisodes (23, ")


def test_a_reader_goes_on_in_a_forked_child(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "e.zarr", num_steps=1, height=300, width=300) as writer:
        frames = np.random.default_rng(0).integers(0, 9, (2, 2, 300, 300, 3), dtype=np.uint8)
        writer.append(replace(make_episode(1, num_steps=1), frames_tvhwc=frames))
        writer.finish()
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom selu_hpc.store.trajectories import EpisodeReader\n"
        "reader = EpisodeReader(Path(sys.argv[1]))\ntotal = reader.frames(0).sum()\n"
        "if os.fork() == 0:\n    os._exit(0 if reader.frames(0).sum() == total else 1)\n"
        "print(os.wait()[1])\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "e.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.stdout == "0\n", done.stderr
