"""Writes the stand-in as release folders, as if they were Unity builds: `python -m selu_hpc.envs.releases FOLDER`.

With env.unity_releases=FOLDER and env.unity_commit=unknown (or known) the Unity back-ends then start the stand-in by
the very code path that starts Unity: CloudRendering, and Linux64 under Xvfb.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from selu_hpc.config import World
from selu_hpc.sim.thor_build import write_release
from selu_hpc.terminal import EXIT_REFUSED, enter


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.envs.releases", description="Write the stand-in as release folders of a Unity build."
    )
    parser.add_argument("folder", type=Path, help="what env.unity_releases will name; other releases in it stay")
    folder = parser.parse_args(argv).folder
    try:
        for platform in ("CloudRendering", "Linux64"):
            for world in World:
                write_release(folder, platform=platform, commit=str(world), world=str(world))
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or folder}: {error.strerror}; name a folder that you may write\n")
        return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    enter(main)
