"""Calls the apptainer command and turns its failures into errors a person can act on. Owns nothing of its formats."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selu_hpc.errors import ImageError

LOOK_S = 1.0
STALLED_S = 300.0
"""Of a command that fetches something: so long may what it fetched stay as large as it was."""
HINTS = {
    "user namespace": "this node has no user namespaces: use a pre-built image (containers/README.md)",
    "no space left": "the disk is full: point APPTAINER_TMPDIR and APPTAINER_CACHEDIR at a larger one",
    "disk quota": "your quota is used up: point APPTAINER_TMPDIR and APPTAINER_CACHEDIR off the home folder",
    "failed to create staging file": "APPTAINER_TMPDIR (or a folder above it) hands its group down, which Apptainer "
    "cannot unpack in: choose another folder, or `chmod g-s` it",
    "unauthorized": "the registry wants a login: `apptainer registry login --username NAME oras://HOST`",
    "connection refused": "the registry does not answer: check its host and port",
    "server gave http response": "the registry speaks plain http: pass --plain-http if that is meant",
    "signature not found": "the image is not signed: sign it by `python -m selu_hpc.images sign IMAGE`, or pull a "
    "signed one",
    "made by unknown entity": "your keyring has no public key for a signature: `apptainer key import FILE`, or "
    "`apptainer key pull FINGERPRINT`; then try again",
    "integrity compromised": "the image was altered after it was signed: `python -m selu_hpc.images pull PLACE` again",
}


@dataclass(frozen=True, slots=True)
class Apptainer:
    """`Apptainer("apptainer").run(["inspect", …])`."""

    command: str = "apptainer"

    def run(
        self,
        arguments: Sequence[str],
        *,
        show: bool = False,
        environment: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        fetched: Callable[[], int] | None = None,
    ) -> str:
        """Run one subcommand; its output is shown (progress bars) or returned.

        fetched: how much it has got of what it fetches; where that grows no more the command is ended.
        """
        program = shutil.which(self.command)
        if program is None:
            raise ImageError(
                f"no {self.command!r} on this machine; load the site's module or install Apptainer 1.2 or newer, "
                "or run without an image: --set image=none"
            )
        line = [program, *arguments]
        try:
            whole = {**os.environ, **(environment or {})}
            done = _run(line, show=show, environment=whole, timeout_s=timeout_s, fetched=fetched)
        except subprocess.TimeoutExpired as error:
            raise ImageError(f"{self.command} {arguments[0]} did not end within {timeout_s:.0f} s") from error
        if done.returncode:
            said = (done.stderr or "see above").strip()
            raise ImageError(f"{self.command} {' '.join(arguments[:4])} failed: {said[-1500:]}{hint(said)}")
        return done.stdout or ""

    @property
    def version(self) -> tuple[int, ...]:
        words = self.run(["version"]).strip().split("-")[0].split(".")
        return tuple(int(word) for word in words if word.isdigit())

    def labels(self, image: Path) -> dict[str, str]:
        """The image's labels (commit, variant, date)."""
        data = json.loads(self.run(["inspect", "--json", "--labels", str(image)]))
        found = data.get("data", {}).get("attributes", {}).get("labels", {})
        return {str(key): str(value) for key, value in found.items()}


def _run(
    line: Sequence[str],
    *,
    show: bool,
    environment: Mapping[str, str],
    timeout_s: float | None,
    fetched: Callable[[], int] | None,
) -> subprocess.CompletedProcess[str]:
    """Shown on a terminal as it comes, with progress bars; elsewhere kept for the error message and then shown."""
    is_seen = show and sys.stderr.isatty()
    kept = None if is_seen else subprocess.PIPE
    with subprocess.Popen(line, text=True, env=environment, stdout=kept, stderr=kept) as child:
        try:
            said, error = _to_its_end(child, fetched, line) if fetched else child.communicate(timeout=timeout_s)
        except BaseException:
            child.kill()
            raise
    if show and not is_seen:
        sys.stderr.write(said + error)
        sys.stderr.flush()
    return subprocess.CompletedProcess(line, child.returncode, said, error)


def _to_its_end(child: subprocess.Popen[str], fetched: Callable[[], int], line: Sequence[str]) -> tuple[str, str]:
    size, since = fetched(), time.monotonic()
    while True:
        try:
            return child.communicate(timeout=LOOK_S)
        except subprocess.TimeoutExpired:
            if (now := fetched()) != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > STALLED_S:
                raise ImageError(
                    f"{' '.join(line[:2])} got nothing more for {STALLED_S:g} s, after {size / 1e6:.0f} MB, and was "
                    "ended; see whether the registry answers, then run the same command again"
                ) from None


def hint(said: str) -> str:
    """What to do after such words, if we know."""
    lower = said.lower()
    return next((f"; {advice}" for words, advice in HINTS.items() if words in lower), "")
