"""Frozen-tower features on local disk: each frame is encoded once for all epochs, rounds, actor and critic.

    CACHE/<tower>/ab/ab34….bin      header, tensor bytes, crc32; renamed into place

Owns the files, their bound and their check. The key is the frame's content, so a run folder made anew never
finds another run's features. Does not own encoding (towers.py). A damaged file is encoded again.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
import tempfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "SELU_FEATURE_CACHE"
LIMIT_VARIABLE = "SELU_FEATURE_CACHE_GB"
DEFAULT_LIMIT_GB = 16.0
_HEADER = struct.Struct("<4sBB3I")
_MAGIC = b"SFT1"
_DTYPES = {0: torch.float32, 1: torch.bfloat16, 2: torch.float16}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def cache_folder() -> Path:
    """Node-local: SELU_FEATURE_CACHE, else on the site's scratch or in the machine's temporary folder, per user.

    Not below the TMPDIR of a Slurm task, which it loses at its end. Where somebody else took that name first, what lies
    there is not believed: then below the home folder.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    temporary = "/tmp" if "SLURM_JOB_ID" in os.environ else tempfile.gettempdir()
    here = Path(os.environ.get("SELU_SCRATCH") or temporary) / f"selu_hpc-{os.getuid()}"
    return (here if _may_be_ours(here) else Path.home() / ".cache" / "selu_hpc") / "features"


def _may_be_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def cache_limit_bytes() -> int:
    return int(float(os.environ.get(LIMIT_VARIABLE, DEFAULT_LIMIT_GB)) * 1e9)


@dataclass(slots=True)
class FeatureCache:
    """Features of one tower; several processes may read and write it at once."""

    root: Path
    identity: str
    limit_bytes: int

    def file(self, key: bytes) -> Path:
        name = key.hex()
        return self.root / self.identity / name[:2] / f"{name}.bin"

    def __contains__(self, key: bytes) -> bool:
        try:
            self.file(key).stat()
        except OSError:  # another user's folder too: Path.exists would raise
            return False
        return True

    def get(self, key: bytes) -> Tensor | None:
        """The features, or None when they are not there or not whole."""
        file = self.file(key)
        try:
            data = file.read_bytes()
        except OSError:
            return None
        tensor = _unpack(data)
        if tensor is None:
            logger.warning("%s: damaged features, they are encoded again", file)
            file.unlink(missing_ok=True)
        return tensor

    def put(self, key: bytes, features: Tensor) -> None:
        """Keep features; a full disk only costs the reuse."""
        file = self.file(key)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.write_bytes(_pack(features))
            partial.replace(file)
        except OSError as error:
            logger.warning("%s: features not kept: %s", file, error)
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def touch(self, keys: Iterable[bytes]) -> None:
        """Mark as used now, so that pruning takes others first."""
        for key in keys:
            with suppress(OSError):
                os.utime(self.file(key))

    def make_room(self, num_bytes: int) -> int:
        """Delete the longest unused until `num_bytes` more fit under the limit; returns how many bytes do fit."""
        known = sorted(self._files())
        used = sum(size for _, size, _ in known)
        for _, size, file in known:
            if used + num_bytes <= self.limit_bytes:
                break
            with suppress(OSError):
                file.unlink(missing_ok=True)
            used -= size
        return max(0, min(num_bytes, self.limit_bytes - used))

    def _files(self) -> Iterable[tuple[float, int, Path]]:
        for file in self.root.glob("*/*/*.bin"):
            with suppress(OSError):
                found = file.stat()
                yield found.st_mtime, found.st_size, file


def _pack(features: Tensor) -> bytes:
    shape = [*features.shape, 0, 0][:3]
    raw = features.contiguous().view(torch.uint8).numpy().tobytes()
    return (
        _HEADER.pack(_MAGIC, _CODES[features.dtype], features.ndim, *shape) + raw + struct.pack("<I", zlib.crc32(raw))
    )


def _unpack(data: bytes) -> Tensor | None:
    if len(data) < _HEADER.size + 4:
        return None
    magic, code, ndim, *shape = _HEADER.unpack_from(data)
    raw = memoryview(data)[_HEADER.size : -4]
    if magic != _MAGIC or code not in _DTYPES or struct.pack("<I", zlib.crc32(raw)) != data[-4:]:
        return None
    values = torch.from_numpy(np.frombuffer(raw, np.uint8).copy())
    return values.view(_DTYPES[code]).reshape(shape[:ndim])
