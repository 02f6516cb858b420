"""Writes the stand-in as release folders, as if they were Unity builds: `python -m selu_hpc.envs.releases FOLDER`.

With env.unity_releases=FOLDER and env.unity_commit=unknown (or known) the Unity back-ends then start the stand-in by
the very code path that starts Unity: CloudRendering, and Linux64 under Xvfb.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from selu_hpc.config import World
from selu_hpc.envs.launch import write_stand_in_release


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for platform in ("CloudRendering", "Linux64"):
        for world in World:
            write_stand_in_release(folder, platform=platform, commit=str(world), world=str(world))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
