"""Scenes' lit triangles on disk, so that not every process builds every room's things again: reading takes 1 ms.

    CACHE/scenes/<code>/<scene>.bin     crc32, length of the list, the list as JSON, float32 triangles

Owns the files. They lie beside numba's machine code and hold what a scene's drawables came to, each with the drawable
itself: what differs in this episode is built as ever. The folder's name is a digest of this package's code and the
machine's kind, so nothing of another version is found; a damaged file is as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path

import llvmlite.binding
import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing import raster
from selu_hpc.sim.drawing.camera import Drawable
from selu_hpc.sim.drawing.skins import Skin

Solid = NDArray[np.float32]
Kept = tuple[Drawable, Solid, Solid]
"""A drawable, its triangles and the sphere round them."""
MOST_FILES = 1024
"""Scenes kept by one version; what comes after is built by every process."""
MOST_DRAWABLES = 2000
"""Kept with the same floors and skin: those of about ten homes."""
MOST_VERSIONS = 3
"""Versions kept: a checkout and what it is compared with."""
_HEAD = struct.Struct("<II")


class SolidFiles:
    """The scenes of one folder; several processes may read and write it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, skin: Skin, floors: tuple[Drawable, ...]) -> list[Kept]:
        """What is kept of the scene with these floors."""
        try:
            return list(_unpacked(self._file(skin, floors).read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, struct.error):
            return []

    def write(self, skin: Skin, floors: tuple[Drawable, ...], solids: Iterable[Kept]) -> None:
        """Keep these, each drawable once, in place of what was kept; a full disk only costs the reuse."""
        file = self._file(skin, floors)
        partial = file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            if not file.parent.is_dir():
                file.parent.mkdir(parents=True, exist_ok=True)
                self._forget_old_versions()
            if not file.exists() and sum(1 for _ in os.scandir(file.parent)) >= MOST_FILES:
                return
            newest = {one[0]: one for one in solids}
            try:
                partial.write_bytes(_packed(list(newest.values())[-MOST_DRAWABLES:]))
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)

    def _forget_old_versions(self) -> None:
        """A process that still uses one builds its scenes again."""
        newest_first = sorted(self.folder.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in newest_first[MOST_VERSIONS:]:
            shutil.rmtree(folder, ignore_errors=True)

    def _file(self, skin: Skin, floors: tuple[Drawable, ...]) -> Path:
        told = repr((skin, [(*astuple(floor)[:-2], sorted(floor.flags), floor.liquid) for floor in floors]))
        return self.folder / _code() / f"{hashlib.blake2b(told.encode(), digest_size=16).hexdigest()}.bin"


def beside_machine_code() -> SolidFiles:
    """Where a stand-in process keeps them."""
    return SolidFiles(Path(raster.compile_cache()) / "scenes")


@lru_cache(maxsize=1)
def _code() -> str:
    """Everything triangles depend on besides the drawables."""
    hashed = hashlib.blake2b(f"{llvmlite.binding.get_host_cpu_name()} {np.__version__}".encode(), digest_size=12)
    here = Path(__file__).parent
    for file in sorted(here.rglob("*.py")):
        hashed.update(str(file.relative_to(here)).encode())
        hashed.update(file.read_bytes())
    return hashed.hexdigest()


def _packed(solids: list[Kept]) -> bytes:
    told = [
        {**{name: getattr(d, name) for name in Drawable.__slots__}, "flags": sorted(d.flags), "num": len(solid),
         "sphere": sphere.tolist()}
        for d, solid, sphere in solids
    ]  # fmt: skip
    listed = json.dumps(told).encode()
    body = listed + b"".join(solid.tobytes() for _, solid, _ in solids)
    return _HEAD.pack(zlib.crc32(body), len(listed)) + body


def _unpacked(data: bytes) -> Iterator[Kept]:
    crc, length = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if zlib.crc32(body) != crc:
        return
    numbers = np.frombuffer(body[length:], np.float32).reshape(-1, raster.WIDTH_OF_TRIANGLE)
    at = 0
    for one in json.loads(bytes(body[:length])):
        num, sphere = one.pop("num"), np.array(one.pop("sphere"), np.float32)
        place = {name: tuple(one.pop(name)) for name in ("position", "size")}
        yield Drawable(**one | place | {"flags": frozenset(one["flags"])}), numbers[at : at + num], sphere
        at += num
