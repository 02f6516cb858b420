"""Calls the apptainer command and turns its failures into errors a person can act on. Owns nothing of its formats."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selu_hpc.errors import ImageError

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
    ) -> str:
        """Run one subcommand; its output is shown (progress bars) or returned."""
        program = shutil.which(self.command)
        if program is None:
            raise ImageError(
                f"no {self.command!r} on this machine; load the site's module or install Apptainer 1.2 or newer, "
                "or run without an image: --set image=none"
            )
        line = [program, *arguments]
        try:
            done = _run(line, show=show, environment={**os.environ, **(environment or {})}, timeout_s=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ImageError(f"{self.command} {arguments[0]} did not end within {timeout_s:.0f} s") from error
        if done.returncode:
            said = (done.stderr or "see above").strip()
            raise ImageError(f"{self.command} {' '.join(arguments[:4])} failed: {said[-1500:]}{_hint(said)}")
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
    line: Sequence[str], *, show: bool, environment: Mapping[str, str], timeout_s: float | None
) -> subprocess.CompletedProcess[str]:
    """Shown on a terminal as it comes, with progress bars; elsewhere kept for the error message and then shown."""
    if show and sys.stderr.isatty():
        return subprocess.run(line, check=False, text=True, env=environment, timeout=timeout_s)
    done = subprocess.run(line, check=False, text=True, capture_output=True, env=environment, timeout=timeout_s)
    if show:
        sys.stderr.write(done.stdout + done.stderr)
        sys.stderr.flush()
    return done


def _hint(said: str) -> str:
    lower = said.lower()
    return next((f"; {advice}" for words, advice in HINTS.items() if words in lower), "")
