"""Pushes and pulls images: any OCI registry by `oras://`, or a folder. Pulls go by digest, once per shelf.

oras://HOST/REPOSITORY:TAG                       push; the answer names the digest to pull by
oras://HOST/REPOSITORY@sha256:M#sha256:F         pull; M is the registry's manifest, F the image file
/shared/images/NAME-….sif@sha256:F               the same from a folder
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.shelf import Entry, Shelf
from selu_hpc.errors import ImageError
from selu_hpc.rounds.lock import wait_for_lock

ORAS = "oras://"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies: registry reference or file, and the digests that were named."""

    reference: str
    manifest: str = ""
    file_digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        body, _, file_digest = text.partition("#")
        if body.startswith(ORAS):
            reference, _, manifest = body.partition("@")
            return cls(reference, manifest, file_digest)
        reference, _, digest = body.partition("@")
        return cls(reference, "", digest or file_digest)

    @property
    def is_registry(self) -> bool:
        return self.reference.startswith(ORAS)

    @property
    def name(self) -> str:
        last = self.reference.rstrip("/").rpartition("/")[2]
        return last.partition(":")[0].removesuffix(".sif").partition("-")[0] if last else "image"

    def __str__(self) -> str:
        parts = [self.reference.rpartition(":")[0] if self.manifest and ":" in self.name_and_tag else self.reference]
        if self.manifest:
            parts.append(f"@{self.manifest}")
        if self.file_digest:
            parts.append(f"#{self.file_digest}" if self.is_registry else f"@{self.file_digest}")
        return "".join(parts)

    @property
    def name_and_tag(self) -> str:
        return self.reference.rpartition("/")[2]


def push(entry: Entry, place: Place, *, shelf: Shelf, apptainer: Apptainer, plain_http: bool = False) -> Place:
    """Copy an image to a registry or folder and return where to pull it from, by digest."""
    if not place.is_registry:
        there = Shelf(Path(place.reference).absolute()).copy_in(
            shelf.file(entry), name=entry.name, expected=entry.digest
        )
        made = Place(str(Shelf(Path(place.reference).absolute()).file(there)), file_digest=entry.digest)
    else:
        apptainer.run(
            ["push", *(["--no-https"] if plain_http else []), str(shelf.file(entry)), place.reference], show=True
        )
        made = Place(place.reference, resolve(place.reference, plain_http=plain_http), entry.digest)
    shelf.note_place(entry, str(made))
    return made


def pull(place: Place, *, shelf: Shelf, apptainer: Apptainer, plain_http: bool = False) -> Entry:
    """Bring an image onto the shelf, once: whoever comes second waits and finds it there."""
    if not place.file_digest and not place.manifest:
        raise ImageError(
            f"{place.reference}: pull by digest, not by tag, since tags move: `oras resolve` or the line that "
            "`images push` printed names it"
        )
    with shelf.locked(f"pulling {place.reference}"):
        here = _already(place, shelf)
    if here:
        logger.info("{} is already in {}", here.title, shelf.path)
        return here
    if not place.is_registry:
        return shelf.copy_in(Path(place.reference), name=place.name, expected=place.file_digest)
    return _pull_oras(place, shelf=shelf, apptainer=apptainer, plain_http=plain_http)


def _pull_oras(place: Place, *, shelf: Shelf, apptainer: Apptainer, plain_http: bool) -> Entry:
    shelf.path.mkdir(parents=True, exist_ok=True)
    with wait_for_lock(shelf.path / ".pull.lock", purpose=f"pulling {place.reference}"):
        if here := _already(place, shelf):
            return here
        partial = shelf.path / f".{place.name}.{os.getpid()}.partial"
        reference = place.reference
        if place.manifest:
            found = resolve(place.reference, plain_http=plain_http) if ":" in place.name_and_tag else place.manifest
            if found != place.manifest:
                logger.warning("{} now names {}; pulling the {} you asked for", reference, found, place.manifest)
            reference = f"{_without_tag(place)}@{place.manifest}"
        try:
            apptainer.run(
                [
                    "pull",
                    "--force",
                    "--disable-cache",
                    *(["--no-https"] if plain_http else []),
                    str(partial),
                    reference,
                ],
                show=True,
            )
            return shelf.add(partial, name=place.name, place=str(place), expected=place.file_digest)
        finally:
            partial.unlink(missing_ok=True)


def resolve(reference: str, *, plain_http: bool) -> str:
    """The manifest digest a tag names now."""
    oras = shutil.which("oras")
    if oras is None:
        raise ImageError("no `oras` on this machine: install it to push to or resolve tags of a registry")
    line = [oras, "resolve", *(["--plain-http"] if plain_http else []), reference.removeprefix(ORAS)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise ImageError(f"{reference}: the registry did not answer: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _already(place: Place, shelf: Shelf) -> Entry | None:
    for entry in shelf.entries():
        if entry.digest == place.file_digest or (place.manifest and any(place.manifest in p for p in entry.places)):
            return entry
    return None


def _without_tag(place: Place) -> str:
    head, _, last = place.reference.rpartition("/")
    return f"{head}/{last.partition(':')[0]}"
