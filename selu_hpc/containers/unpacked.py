"""An image as plain files on a node's scratch, unpacked once per node and user; for sites that ask for it.

A user's image is mounted by FUSE, anew for each task: an import then costs thousands of requests to one process, and
no task profits from what another read. Plain files are read as the host's own are. The folder is private to the user,
made from a file whose digest was just checked, and gets its name only when it is whole.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import ReplacedError, require_digest, short, unchanged
from selu_hpc.containers.node import make_room, node_folder, used_now
from selu_hpc.errors import ImageError
from selu_hpc.rounds.lock import wait_for_lock

logger = logging.getLogger(__name__)


def unpacked(image: Path, digest: str, *, apptainer: Apptainer) -> Path:
    """The folder to start from, unpacked by whichever task comes first; the image itself where there is no room."""
    place = node_folder("selu-unpacked")
    if place is None:
        logger.warning("%s is used as it is, since others can write the folder to unpack it in", image)
        return image
    folder = place / short(digest).removeprefix("sha256:")
    if not folder.is_dir():
        with wait_for_lock(place / ".lock", purpose=f"unpacking {image.name}"):
            if not folder.is_dir():
                make_room(place)
                try:
                    _unpack(image, digest, folder, apptainer=apptainer)
                except ReplacedError:
                    raise
                except ImageError as error:
                    logger.warning("%s is used as it is, since it could not be unpacked: %s", image, error)
                    return image
    used_now(folder)
    return folder


def _unpack(image: Path, digest: str, folder: Path, *, apptainer: Apptainer) -> None:
    started = time.monotonic()
    with TemporaryDirectory(dir=folder.parent, prefix=".unpack-", ignore_cleanup_errors=True) as text:
        partial = Path(text)
        # Without setgid, which a shared scratch hands down and Apptainer cannot unpack in.
        partial.chmod(0o700)
        line = ["build", "--fix-perms", "--sandbox", str(partial / "image"), str(image)]
        with unchanged(image):
            require_digest(image, digest)
            apptainer.run(line, environment={"APPTAINER_TMPDIR": str(partial)})
        (partial / "image").rename(folder)
    logger.info("unpacked %s into %s in %.0f s", image.name, folder, time.monotonic() - started)
