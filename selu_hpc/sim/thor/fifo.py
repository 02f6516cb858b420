"""The FIFO channel: framed messages over two named pipes.

A header of "!BI" (field type, length), then the body; a message ends with type 255 and length 0. The build opens the
server's pipe for writing and speaks first, then opens the client's pipe and reads.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import msgpack

from selu_hpc.sim.thor.session import Answer, Session

_HEADER = struct.Struct("!BI")
METADATA, ACTION, RGB, DEPTH, NORMALS, CLASSES, IDS = 1, 2, 4, 5, 6, 8, 9
THIRD_RGB, PATCH, THIRD_DEPTH, THIRD_NORMALS, THIRD_IDS, THIRD_CLASSES = 10, 11, 12, 13, 14, 15
END = 255
_LAST = _HEADER.pack(END, 0)
_PIPE_BYTES = 1 << 20
_OPEN_SECONDS = 300.0
_POLL_SECONDS = 0.003
_LONGEST_MESSAGE = 1 << 30


def serve(session: Session, *, server_pipe: Path, client_pipe: Path) -> None:
    """Answer until the client goes away."""
    writer = _open_writer(server_pipe)
    with contextlib.suppress(OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        _send(writer, session.first())
        with client_pipe.open("rb") as reader:
            while (body := _receive(reader)) is not None:
                _send(writer, session.handle(_message(body)))
    except BrokenPipeError:
        return
    finally:
        os.close(writer)


def _open_writer(path: Path) -> int:
    """Open a pipe for writing as soon as somebody reads; give up when it vanishes or nobody comes."""
    deadline = time.monotonic() + _OPEN_SECONDS
    while True:
        try:
            found = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            os.set_blocking(found, True)
            return found


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) else {"action": None}


def _receive(reader: Any) -> bytes | None:
    """One message's action; None at the end."""
    body: bytes | None = None
    while True:
        header = reader.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack(header)
        if kind == END:
            return b"{}" if body is None else body
        if length > _LONGEST_MESSAGE:
            raise ValueError(f"a message of {length} bytes")
        part = reader.read(length)
        if len(part) < length:
            return None
        if kind == ACTION:
            body = part


def _send(writer: int, answer: Answer) -> None:
    """The metadata at once, so that the client unpacks them while the pictures are drawn."""
    if answer.patch is not None:
        _write(writer, _field(PATCH, msgpack.packb(answer.patch)) + _LAST)
        return
    packed = answer.world.describer.packed(sequence_id=answer.sequence_id, segmentation=answer.want.segmentation)
    _write(writer, _field(METADATA, packed))
    parts: list[bytes] = []
    for view in answer.views:
        for kind, data in (
            (RGB, view.image),
            (DEPTH, view.depth),
            (NORMALS, view.normals),
            (CLASSES, view.classes),
            (IDS, view.instances),
        ):
            parts.append(_field(kind, data))
    for view in answer.cameras:
        for kind, data in (
            (THIRD_RGB, view.image),
            (THIRD_DEPTH, view.depth),
            (THIRD_NORMALS, view.normals),
            (THIRD_IDS, view.instances),
            (THIRD_CLASSES, view.classes),
        ):
            parts.append(_field(kind, data))
    _write(writer, b"".join((*parts, _LAST)))


def _field(kind: int, data: bytes | None) -> bytes:
    """Nothing for what is not wanted."""
    return b"" if data is None else _HEADER.pack(kind, len(data)) + data


def _write(writer: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view) :]
