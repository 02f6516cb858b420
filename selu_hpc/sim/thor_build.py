"""The executable that ai2thor's Controller launches in place of the Unity build.

`python -m selu_hpc.sim.thor_build [--world known|unknown] [--skin NAME]` plus the arguments and environment that the
Controller gives. It ends when the client closes the channel or its parent dies, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import select
import shlex
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selu_hpc.sim.drawing.skins import Skin

MAX_SCREEN = 4096


def main(arguments: list[str] | None = None) -> None:
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    end_with_parent()
    from selu_hpc.sim.drawing import render, solids, triangles
    from selu_hpc.sim.thor.session import Session

    triangles.keep_in(solids.beside_machine_code())
    skin = options.skin
    known = skin.known if skin is not None else options.world == "known"
    session = Session(known=known, skin=skin, screen=(options.width, options.height), headless=options.headless)
    if not options.headless:
        render.compile_all()
    gc.collect()
    gc.freeze()
    _serve(session)


def warm() -> None:
    """Load what every build needs, machine code included; for a nursery, whose forks then have it."""
    from selu_hpc.sim.drawing import render

    for module in ("thor.fifo", "thor.session", "thor.wsgi", "drawing.solids", "drawing.triangles"):
        importlib.import_module(f"selu_hpc.sim.{module}")
    render.compile_all()


def _serve(session: object) -> None:
    from selu_hpc.sim.thor import fifo, wsgi
    from selu_hpc.sim.thor.session import Session

    assert isinstance(session, Session)
    env = os.environ
    if env.get("AI2THOR_SERVER_TYPE", "FIFO") == "FIFO":
        server, client = env.get("AI2THOR_FIFO_SERVER_PIPE_PATH"), env.get("AI2THOR_FIFO_CLIENT_PIPE_PATH")
        if not server or not client:
            raise SystemExit(_NOT_LAUNCHED)
        fifo.serve(session, server_pipe=Path(server), client_pipe=Path(client))
    else:
        host, port = env.get("AI2THOR_HOST"), env.get("AI2THOR_PORT")
        if not host or not port:
            raise SystemExit(_NOT_LAUNCHED)
        wsgi.serve(session, host=host, port=int(port), token=env.get("AI2THOR_CLIENT_TOKEN", ""))


_NOT_LAUNCHED = (
    "thor_build is launched by ai2thor: Controller(local_executable_path="
    f"{sys.executable + ' -m selu_hpc.sim.thor_build'!r}, x_display='0'); "
    "its AI2THOR_* environment variables are missing here"
)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m selu_hpc.sim.thor_build", description=__doc__)
    parser.add_argument("--world", choices=("known", "unknown"), default="known")
    parser.add_argument(
        "--skin", type=_skin, help="one of known-00 … known-27, unknown-00 … unknown-09; also picks the world"
    )
    parser.add_argument("-screen-width", dest="width", type=int, default=300)
    parser.add_argument("-screen-height", dest="height", type=int, default=300)
    parser.add_argument("-nographics", dest="headless", action="store_true")
    options, _ = parser.parse_known_args(arguments)
    if not (0 < options.width <= MAX_SCREEN and 0 < options.height <= MAX_SCREEN):
        parser.error(f"the screen must be 1 to {MAX_SCREEN} pixels each way")
    return options


def _skin(name: str) -> Skin:
    from selu_hpc.sim.drawing import skins

    return skins.from_argument(name)


def end_with_parent() -> None:
    """End at once when the parent process does, however it dies."""
    parent = os.getppid()
    try:
        watched = os.pidfd_open(parent)
    except (AttributeError, OSError):
        return
    if os.getppid() != parent:
        os._exit(1)

    def wait() -> None:
        select.select([watched], [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()


def write_release(
    releases: Path, *, commit: str, world: str = "known", skin: str = "", platform: str = "CloudRendering"
) -> Path:
    """Write a release folder that launches this build, anew; returns the executable. With `releases` at
    HOME/.ai2thor/releases, Controller(platform=CloudRendering, commit_id=commit) finds it."""
    folder = releases / f"thor-{platform}-{commit}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ["--world", world, *(["--skin", skin] if skin else [])]
    command = shlex.join([sys.executable, "-m", "selu_hpc.sim.thor_build", *options])
    script = folder / folder.name
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    (folder / "metadata.json").write_text('{"server_types": ["FIFO", "WSGI"]}\n')
    return script


if __name__ == "__main__":
    main()
