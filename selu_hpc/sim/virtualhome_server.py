"""The process behind VirtualHome's `UnityCommunication`: a threaded HTTP server over one `HomeWorld`.

    python -m selu_hpc.sim.virtualhome_server --world unknown -http-port=8080 "-logFile /tmp/player.log"
    python -m selu_hpc.sim.virtualhome_server --world unknown --launcher /tmp/home.x86_64

The second line writes a program for the client's own launcher (`file_name=`), which gives it no PATH and no HOME.
Unity's arguments are read as the client writes them. The process ends with the one that started it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selu_hpc.sim.drawing import solids, triangles
from selu_hpc.sim.drawing.render import compile_all
from selu_hpc.sim.drawing.skins import from_argument
from selu_hpc.sim.virtualhome.messages import Reply, RequestError, reply
from selu_hpc.sim.virtualhome.world import HomeWorld

logger = logging.getLogger(__name__)

_PARENT_LOOK_S = 0.2
_LONGEST_BODY = 64 * 1024 * 1024


class HomeServer(ThreadingHTTPServer):
    """Answers requests one at a time, on as many connections as clients keep open."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, world: HomeWorld) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._world = world
        self._lock = threading.Lock()

    def answer(self, body: bytes) -> tuple[int, Reply]:
        """HTTP status and reply to a request's body."""
        try:
            request = json.loads(body)
            action, numbers, texts = (
                request["action"],
                request.get("intParams") or [],
                request.get("stringParams") or [],
            )
            if not (isinstance(action, str) and isinstance(numbers, list) and isinstance(texts, list)):
                raise TypeError("action must be a text, intParams and stringParams lists")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return 400, reply(f"cannot read the request: {type(error).__name__} {error}", success=False)
        status = 200
        with self._lock:
            try:
                answer = self._world.handle(action, numbers, texts)
            except (RequestError, RecursionError) as error:
                answer = reply(str(error), success=False)
            except Exception as error:  # a fault of ours, which the client would see as a connection that is lost
                logger.exception("request %s failed in the server", action[:100])
                status, answer = 500, reply(f"{type(error).__name__}: {error}"[:500], success=False)
        return status, {"id": request.get("id"), **answer}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HomeServer

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LONGEST_BODY:
            self.close_connection = True
            return self._send(413, reply("the request is too long", success=False))
        status, answer = self.server.answer(self.rfile.read(length))
        return self._send(status, answer)

    def _send(self, status: int, answer: Reply) -> None:
        text = json.dumps({"message_list": None, **answer}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Unity's server does not write requests out either."""


def end_with_parent() -> None:
    """Leave when the process that started us is gone."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_LOOK_S)
        os._exit(0)

    threading.Thread(target=look, name="parent", daemon=True).start()


def write_launcher(path: Path, arguments: list[str]) -> None:
    """A program that starts this server with the running interpreter, without PATH or HOME."""
    command = shlex.join([sys.executable, "-m", __spec__.name, *arguments])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)


def warm() -> None:
    """Compile what pictures need; for a nursery, whose forks then have it."""
    compile_all()


def main(arguments: list[str] | None = None) -> None:
    """Serve until the parent ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--world", choices=("known", "unknown"), default="known", help="whose fifty homes")
    parser.add_argument(
        "--skin", type=from_argument, help="of all homes: one of known-00 … known-27, unknown-00 … unknown-09"
    )
    parser.add_argument("--launcher", type=Path, help="write a program for the client's launcher here, and end")
    parser.add_argument("-http-port", dest="port", type=int, default=8080)
    options, _ = parser.parse_known_args(arguments)
    if options.launcher is not None:
        skin = ["--skin", options.skin.name] if options.skin else []
        return write_launcher(options.launcher, ["--world", options.world, *skin])
    end_with_parent()
    triangles.keep_in(solids.beside_machine_code())
    world = HomeWorld(known=options.world == "known", skin=options.skin)
    with HomeServer(options.port, world) as server:
        server.serve_forever(poll_interval=0.2)
    return None


if __name__ == "__main__":
    main()
