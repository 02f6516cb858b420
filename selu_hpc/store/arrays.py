"""Zarr v3 arrays in a folder: their metadata, small arrays as one chunk, and files written durably.

Every file is written whole: temporary name, fsync, rename. Only codecs of the Zarr v3 registry are used.
Does not own what the arrays mean, or a chunk's bytes (chunks.py).
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.errors import CorruptShardError, RunFolderError, UnreadableShardError
from selu_hpc.rounds.rundir import shard_of, write_bytes
from selu_hpc.store import chunks

CAN_NOT_WRITE = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EROFS])
"""Errors that reading doesn't know."""
_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c"}
_ZSTD = {"name": "zstd", "configuration": {"level": chunks.ZSTD_LEVEL, "checksum": False}}


def array_metadata(
    shape: Sequence[int],
    dtype: str,
    *,
    chunk: Sequence[int],
    shard: Sequence[int] | None = None,
    names: Sequence[str] = (),
    fill: int | str = 0,
    attributes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The `zarr.json` of an array: zstd and a checksum per chunk, chunks packed into shards where asked."""
    codecs: list[dict[str, Any]] = [_ENDIAN, _ZSTD, _CRC]
    if shard is not None:
        sharding = {
            "chunk_shape": list(chunk),
            "codecs": codecs,
            "index_codecs": [_ENDIAN, _CRC],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shard or chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": codecs,
        "dimension_names": list(names) or None,
        "attributes": attributes or {},
    }


def chunk_key(number: int, num_axes: int) -> str:
    """The file name of the chunk (or shard) at a place on the first axis."""
    return ".".join(["c", str(number), *["0"] * (num_axes - 1)])


def write_array(folder: Path, values: NDArray[Any], metadata: dict[str, Any]) -> None:
    """A small array as one chunk, and its metadata."""
    folder.mkdir(exist_ok=True)
    if values.size:
        write_file(folder / chunk_key(0, values.ndim), chunks.compress(values))
    write_metadata(folder, metadata)


def read_array(folder: Path) -> NDArray[Any]:
    """A small array that `write_array` wrote; a file that is torn or was changed is named."""
    metadata = read_metadata(folder)
    try:
        shape, dtype = tuple(metadata["shape"]), np.dtype(metadata["data_type"]).newbyteorder("<")
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        if not num_bytes:
            return np.empty(shape, dtype)
        data = (folder / chunk_key(0, len(shape))).read_bytes()
        return np.frombuffer(chunks.decompress(data, num_bytes=num_bytes), dtype).reshape(shape)
    except OSError as error:
        raise unread(folder, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(folder, str(error)) from error


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    write_file(folder / "zarr.json", json.dumps(metadata, indent=1, sort_keys=True, ensure_ascii=False).encode())


def read_metadata(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / "zarr.json").read_bytes())
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except OSError as error:
        raise unread(folder / "zarr.json", error) from error
    except ValueError as error:
        raise damaged(folder / "zarr.json", str(error)) from error
    return value


def write_records(folder: Path, records: Sequence[dict[str, Any]]) -> None:
    """Records as an array with a row of JSON text each, padded with zeros to the longest."""
    texts = [json.dumps(record, ensure_ascii=False, sort_keys=True).encode() for record in records]
    width = max((len(text) for text in texts), default=1)
    rows = np.frombuffer(b"".join(text.ljust(width, b"\0") for text in texts), np.uint8).reshape(len(texts), width)
    chunk = (max(1, len(rows)), width)
    write_array(folder, rows, array_metadata(rows.shape, "uint8", chunk=chunk, names=("record", "json_byte")))


def read_records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(bytes(row).rstrip(b"\0")) for row in read_array(folder)]


def write_file(path: Path, data: bytes) -> None:
    """Write durably; a disk that refuses is named, what was there before stays, nothing half-written is left."""
    try:
        write_bytes(path, data)
    except OSError as error:
        remove_partial_files(path.parent)
        raise refused(path, error) from error


def remove_partial_files(folder: Path) -> None:
    """What a writer that failed or was killed left under temporary names."""
    for file in folder.glob(".*.partial"):
        with suppress(OSError):
            file.unlink()


def refused(path: Path, error: OSError) -> RunFolderError:
    """What to tell the user when the file system says no."""
    return RunFolderError(
        f"{path}: cannot write: {error.strerror}. What was acknowledged before is kept; free space, raise the quota "
        "or make the folder writable, then run `python -m selu_hpc.submit` on this run again"
    )


def damaged(path: Path, what: str) -> CorruptShardError:
    """What to tell the user when a store's bytes are not what was written."""
    return CorruptShardError(f"{path}: {what}; {_remedy(path)}")


def unread(path: Path, error: OSError) -> CorruptShardError:
    """The same when the bytes could not be had: only a file that is not there is damage."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return damaged(path, str(error))
    return UnreadableShardError(
        f"{path}: cannot be read: {error.strerror or error}; when its storage is well, try again, or {_remedy(path)}"
    )


def _remedy(path: Path) -> str:
    place = shard_of(path)
    return place.remedy if place else "`python -m selu_hpc.explain --run RUN rNN/STAGE/SHARD` says what to type"
