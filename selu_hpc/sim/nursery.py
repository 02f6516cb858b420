"""Stand-in processes that start in milliseconds: forks of one that has the heavy modules and machine code loaded.

    nursery = Nursery("selu_hpc.sim.thor_build", folder=private_folder)     in a worker, before its first simulator
    nursery.command("--world", "known")                                     what the official client launches

The client launches a process of its own as ever. That process asks the nursery for a fork, lends it its standard
streams and environment, waits for it and ends as it ends; the fork ends with it. Without a nursery that answers it
does the work itself. Owns this hand-over; what the fork does is the module's `main`, what it has loaded its `warm`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from selu_hpc.processes import die_with_parent

SOCKET = "nursery"
NAME = "selu_hpc.sim.nursery"
_MODULE = "SELU_NURSERY_MODULE"
_LENGTH = struct.Struct("!I")
_STATUS = struct.Struct("!i")
_STREAMS = (0, 1, 2)
_MOST_WAITING = 64


class Nursery:
    """The starter's end. folder: a private one; the nursery ends with the process that made it."""

    def __init__(self, module: str, *, folder: Path) -> None:
        import subprocess

        self._module = module
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        with listener, _short(folder) as short:
            listener.bind(f"{short}/{SOCKET}")
            listener.listen(_MOST_WAITING)
            self._process = subprocess.Popen(
                [sys.executable, "-m", NAME, str(listener.fileno()), str(os.getpid())],
                env={**os.environ, _MODULE: module},
                pass_fds=(listener.fileno(),),
                stdin=subprocess.DEVNULL,
            )

    def command(self, *arguments: str) -> list[str]:
        """What to launch in place of `python -m MODULE …`."""
        return [sys.executable, "-m", NAME, str(self._folder), self._module, *arguments]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Either end: `FD PARENT` serves there; `FOLDER MODULE …` is launched and asks for a fork."""
    where, second, *arguments = sys.argv[1:]
    if where.isdigit():
        _serve(socket.socket(fileno=int(where)), os.environ[_MODULE], parent=int(second))
    module, status = second, _ask(Path(where), arguments)
    if status is None:
        importlib.import_module(module).main(arguments)
        return
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if status >= 0 else 1)


def _ask(folder: Path, arguments: list[str]) -> int | None:
    """Have a fork do the work and wait; its status, negative for a signal, or None when nobody is there."""
    with socket.socket(socket.AF_UNIX) as line:
        try:
            with _short(folder) as short:
                line.connect(f"{short}/{SOCKET}")
            body = json.dumps(
                {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
            ).encode()
            socket.send_fds(line, [_LENGTH.pack(len(body))], _STREAMS)
            line.sendall(body)
        except OSError:
            return None
        ready, _, _ = select.select([line.fileno(), *_end_of(os.getppid())], [], [])
        answer = line.recv(_STATUS.size) if line.fileno() in ready else b""
        return int(_STATUS.unpack(answer)[0]) if len(answer) == _STATUS.size else 1


def _end_of(process: int) -> list[int]:
    """What becomes readable when a process ends; nothing on a kernel that cannot tell."""
    try:
        return [os.pidfd_open(process)]
    except (AttributeError, OSError):
        return []


def _serve(listener: socket.socket, module: str, *, parent: int) -> NoReturn:
    ends = _end_of(parent)
    if os.getppid() != parent:
        os._exit(1)
    work = importlib.import_module(module)
    work.warm()
    gc.collect()
    gc.freeze()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    lines: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([listener.fileno(), wake_read, *ends], [], [])
        if any(end in readable for end in ends):
            os._exit(1)
        if wake_read in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            _report(lines)
        if listener.fileno() in readable:
            line, _ = listener.accept()
            child = os.fork()
            if child == 0:
                listener.close()
                for other in lines.values():
                    other.close()
                _become(line, work)
            lines[child] = line


def _report(lines: dict[int, socket.socket]) -> None:
    """Tell each launched process how its fork ended."""
    while lines:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        with lines.pop(child) as line, contextlib.suppress(OSError):
            line.sendall(_STATUS.pack(os.waitstatus_to_exitcode(status)))


def _become(line: socket.socket, work: Any) -> NoReturn:
    """In the fork: be the process that was launched, and end with it."""
    code: Any = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        die_with_parent()
        message = _received(line)
        os.environ.clear()
        os.environ.update(message["environment"])
        os.chdir(message["folder"])
        threading.Thread(target=_end_with, args=(line,), name="end-with-launched", daemon=True).start()
        work.main(message["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else _complain(code))


def _received(line: socket.socket) -> dict[str, Any]:
    """What was launched, with the launched process's streams in place of ours."""
    head, streams, _, _ = socket.recv_fds(line, _LENGTH.size, len(_STREAMS))
    for stream, number in zip(streams, _STREAMS, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    (left,) = _LENGTH.unpack(head)
    parts: list[bytes] = []
    while left:
        part = line.recv(left)
        if not part:
            raise EOFError("the launched process ended before it had said what it is")
        parts.append(part)
        left -= len(part)
    message: dict[str, Any] = json.loads(b"".join(parts))
    return message


def _end_with(line: socket.socket) -> None:
    select.select([line], [], [])
    os._exit(1)


def _complain(words: object) -> int:
    with contextlib.suppress(OSError):
        os.write(2, f"{words}\n".encode())
    return 1


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A name for a folder that fits into a socket's 107 bytes, however long its path is."""
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}"
    finally:
        os.close(opened)


if __name__ == "__main__":
    main()
