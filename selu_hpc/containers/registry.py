"""Pushes and pulls images: any OCI registry by `oras://`, or a folder. Pulls go by digest, once per shelf.

oras://HOST/REPOSITORY:TAG                       push; the answer names the digest to pull by
oras://HOST/REPOSITORY@sha256:M#sha256:F         pull; M is the registry's manifest, F the image file
/shared/images/NAME-….sif@sha256:F               the same from a folder
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from selu_hpc.containers.apptainer import Apptainer, hint
from selu_hpc.containers.digest import digest_of, require_digest, require_whole
from selu_hpc.containers.shelf import Entry, Made, Shelf
from selu_hpc.errors import ImageError

logger = logging.getLogger(__name__)

ORAS = "oras://"
SHELVED = re.compile(r"(?P<name>.+)-[0-9a-f]{12}")
"""How a shelf names its files."""
ANSWER_S = 120.0
"""How long a registry may take to say what a tag names."""
LABELS = {
    "commit": "org.opencontainers.image.revision",
    "definition": "selu_hpc.definition",
    "dependencies": "selu_hpc.dependencies",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies: registry reference or file, and the digests that were named."""

    reference: str
    manifest: str = ""
    file_digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        body, file_digest = _split_digest(text, "#")
        reference, digest = _split_digest(body, "@")
        if reference.startswith(ORAS):
            return cls(reference, digest, file_digest)
        return cls(reference, "", digest or file_digest)

    @property
    def is_registry(self) -> bool:
        return self.reference.startswith(ORAS)

    @property
    def name(self) -> str:
        last = self.reference.rstrip("/").rpartition("/")[2].removesuffix(".sif")
        if self.is_registry:
            last = last.partition(":")[0]
        shelved = SHELVED.fullmatch(last)
        return shelved["name"] if shelved else last or "image"

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
            shelf.file(entry), name=entry.name, made=entry.made, expected=entry.digest
        )
        made = Place(str(Shelf(Path(place.reference).absolute()).file(there)), file_digest=entry.digest)
    else:
        _require_tag(place)
        require_digest(shelf.file(entry), entry.digest, remember=False)
        _oras()  # before an upload whose digest nobody here could say
        apptainer.run(
            ["push", *(["--no-https"] if plain_http else []), str(shelf.file(entry)), place.reference], show=True
        )
        manifest = resolve(place.reference, plain_http=plain_http)
        made = Place(place.reference, manifest, entry.digest)
        _require_holds(f"{_without_tag(place)}@{manifest}", entry.digest, place, plain_http=plain_http)
    shelf.note_place(entry, str(made))
    return made


def pull(place: Place, *, shelf: Shelf, apptainer: Apptainer, plain_http: bool = False) -> Entry:
    """Bring an image onto the shelf, once: whoever comes second waits and finds it there."""
    if not place.file_digest and not place.manifest:
        if not place.is_registry:
            raise ImageError(
                f"{place.reference}: pull by digest: `pull FILE@sha256:…` (sha256sum FILE says it), or the line that "
                "`images push` printed"
            )
        raise ImageError(
            f"{place.reference}: pull by digest, not by tag, since tags move: `oras resolve` or the line that "
            "`images push` printed names it"
        )
    for digest in (place.manifest, place.file_digest):
        require_whole(digest, named=place.reference)
    if here := _already(place, shelf):
        logger.info("%s is already in %s", here.title, shelf.path)
        return here
    if not place.is_registry:
        entry = shelf.copy_in(Path(place.reference), name=place.name, expected=place.file_digest)
        return shelf.describe(entry, _made(shelf.file(entry), apptainer=apptainer))
    return _pull_oras(place, shelf=shelf, apptainer=apptainer, plain_http=plain_http)


def _pull_oras(place: Place, *, shelf: Shelf, apptainer: Apptainer, plain_http: bool) -> Entry:
    digest = (place.file_digest or place.manifest).removeprefix("sha256:")
    with shelf.locked(f"pulling {place.reference}", name=f".pull-{digest[:12]}.lock"):
        if here := _already(place, shelf):
            return here
        reference = place.reference
        if place.manifest:
            found = resolve(place.reference, plain_http=plain_http) if ":" in place.name_and_tag else place.manifest
            if found != place.manifest:
                logger.warning("%s now names %s; pulling the %s you asked for", reference, found, place.manifest)
            reference = f"{_without_tag(place)}@{place.manifest}"
        http = ["--no-https"] if plain_http else []
        with shelf.partial(place.name) as partial:
            _fetch(["pull", "--force", "--disable-cache", *http, str(partial), reference], partial, apptainer)
            entry = shelf.add(partial, name=place.name, place=str(place), expected=place.file_digest)
            return shelf.describe(entry, _made(shelf.file(entry), apptainer=apptainer))


def _fetch(arguments: list[str], partial: Path, apptainer: Apptainer) -> None:
    """What comes lies in a folder of ours until it is whole: there it is seen to grow, and goes in any case."""
    with tempfile.TemporaryDirectory(dir=partial.parent, prefix=".tmp-", ignore_cleanup_errors=True) as folder:
        apptainer.run(
            arguments,
            show=True,
            environment={"TMPDIR": folder, "APPTAINER_TMPDIR": folder},
            fetched=lambda: _size(partial) + sum(map(_size, Path(folder).rglob("*"))),
        )


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0


def resolve(reference: str, *, plain_http: bool) -> str:
    """The manifest digest a tag names now."""
    return _ask(["resolve"], reference, plain_http=plain_http).strip()


def _require_tag(place: Place) -> None:
    if ":" not in place.name_and_tag:
        raise ImageError(f"{place.reference}: has no tag to push to; name one: {place.reference}:v1")


def _require_holds(reference: str, digest: str, place: Place, *, plain_http: bool) -> None:
    """The manifest we name must be of the file that we pushed: a tag may be somebody else's a moment later."""
    said = _ask(["manifest", "fetch"], reference, plain_http=plain_http)
    try:
        layers = [layer["digest"] for layer in json.loads(said)["layers"]]
    except (ValueError, LookupError, TypeError) as error:
        raise ImageError(f"{reference}: is no manifest of an image ({error!r}); push again") from error
    if digest not in layers:
        raise ImageError(
            f"{place.reference}: names another image than the one just pushed, {digest}: somebody else pushed to that "
            "tag meanwhile; push again, to a tag of your own"
        )


def _ask(words: list[str], reference: str, *, plain_http: bool) -> str:
    line = [_oras(), *words, *_login(), *(["--plain-http"] if plain_http else []), reference.removeprefix(ORAS)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=ANSWER_S)
    except subprocess.TimeoutExpired as error:
        raise ImageError(
            f"{reference}: the registry did not answer within {ANSWER_S:g} s; try `{shlex.join(line)}`, and the same "
            "command again when that answers"
        ) from error
    if done.returncode:
        said = done.stderr.strip()[-500:]
        raise ImageError(f"{reference}: `oras {' '.join(words)}` failed: {said}{hint(said)}")
    return done.stdout


def _login() -> list[str]:
    """The login that Apptainer has, of which `oras` knows nothing by itself."""
    known = Path(os.environ.get("APPTAINER_CONFIGDIR") or Path.home() / ".apptainer") / "docker-config.json"
    return ["--registry-config", str(known)] if known.is_file() else []


def _oras() -> str:
    oras = shutil.which("oras")
    if oras is None:
        raise ImageError("no `oras` on this machine: install it to push to or resolve tags of a registry")
    return oras


def _already(place: Place, shelf: Shelf) -> Entry | None:
    """The image on the shelf, if its file is still what its digest says: what is not is brought anew."""
    for entry in shelf.entries():
        if place.file_digest:
            is_asked = entry.digest == place.file_digest
        else:
            is_asked = place.manifest in {Place.parse(known).manifest for known in entry.places}
        if is_asked and digest_of(shelf.file(entry), remember=False) == entry.digest:
            return entry
    return None


def _made(image: Path, *, apptainer: Apptainer) -> Made:
    """What the image says of itself by its labels; nothing where they can't be read, since only the digest counts."""
    try:
        labels = apptainer.labels(image)
    except ImageError:
        return Made()
    if "selu_hpc.base" not in labels or "selu_hpc.unity" in labels:
        return Made()  # its labels may be those of the image it was laid over
    found = {name: labels.get(label, "") for name, label in LABELS.items()}
    return Made(**{name: "" if value == "unknown" else value for name, value in found.items()})


def _split_digest(text: str, mark: str) -> tuple[str, str]:
    """`WHERE`, and the digest behind the last `@sha256:` or `#sha256:`; folders may have these signs in their names."""
    where, found, digest = text.rpartition(f"{mark}sha256:")
    return (where, f"sha256:{digest}") if found else (text, "")


def _without_tag(place: Place) -> str:
    head, _, last = place.reference.rpartition("/")
    return f"{head}/{last.partition(':')[0]}"
