"""A bundle: one tar file with everything another lab needs to repeat a run, and the check that it arrived whole.

Holds the resolved recipe, provenance, the code as it was, a site template to fill in, the image or where to get it,
and on request adapters and metrics. `manifest.json` has the SHA-256 of every file; unbundling checks all of them first.
Where the code as it was is not known, it packs other code only when told to, and `origin.json` says which.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import secrets
import shlex
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml

from selu_hpc.containers.digest import digest_of, short
from selu_hpc.containers.origin import contents
from selu_hpc.containers.pinned import Pinned, read_pinned
from selu_hpc.containers.shelf import Shelf
from selu_hpc.errors import ImageError, RunFolderError
from selu_hpc.rounds.copying import FILES_BESIDE, FOLDERS_BESIDE, PARTS, code_digest
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.provenance import ORIGIN, SOURCE, UNKNOWN, code_state
from selu_hpc.rounds.rundir import RunDir, sync_folder

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
IMAGE = "image-wanted.json"
"""Not RUN/image.json, which is the choice of the new site."""
PROVENANCE = "provenance.json"
FILES = frozenset(["config.yaml", PROVENANCE, ORIGIN, IMAGE, "site.yaml", MANIFEST])
FOLDERS = frozenset(["code", "results", "images"])
"""All that a bundle has: no journal, no job and no choice of an image, which would act before anybody looked."""
LAID_OUT_AS = {PROVENANCE: "origin-provenance.json"}
"""The new site writes its own when the run begins there."""
RESULTS = ("rounds/*/finetune_*/shard-*/adapter/*", "rounds/*/evaluate/shard-*/results.json", "report/*")
SITE_TEMPLATE = """\
# Fill in the lines marked with FILL; `python -m selu_hpc.doctor --write-site` makes this file from your Slurm.
name: FILL
account: ""            # FILL where your site charges accounts
partitions:
  cpu: {name: FILL}
  gpu: {name: FILL, gpus_per_node: 8}
mounts: []             # FILL with folders jobs need beside the run folder (model cache, data)
scratch: ""            # FILL with node-local disk, if it is not /tmp
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbundled:
    """What a bundle became, and what is left to do."""

    run: RunDir
    to_do: tuple[str, ...]


def bundle(
    run: RunDir,
    target: Path,
    *,
    with_image: bool,
    with_results: bool,
    image_place: str = "",
    accept_code: bool = False,
) -> dict[str, int]:
    """Write the bundle under a temporary name, then rename it; returns size by name."""
    hashes: dict[str, str] = {}
    sizes: dict[str, int] = {}
    partial = target.with_name(f".{target.name}.partial")
    try:
        run.require()
        code, packed = _choose_code(run, accept=accept_code)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, file in _contents(run, code, with_image=with_image, with_results=with_results):
                hashes[name] = _add(tar, name, file)
                sizes[name] = file.stat().st_size
            extra = {
                "site.yaml": SITE_TEMPLATE,
                IMAGE: json.dumps(_image(run, image_place), indent=1),
                ORIGIN: json.dumps({"code": packed, "contents": contents(run)}, indent=1, sort_keys=True),
            }
            for name, text in extra.items():
                hashes[name] = _add_text(tar, name, text)
            _add_text(tar, MANIFEST, json.dumps({"files": hashes}, indent=1, sort_keys=True))
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        file = Path(error.filename or target)
        if file == partial or target.is_relative_to(file):
            raise ImageError(f"{target}: could not be written: {error.strerror or error}") from error
        raise ImageError(f"{file}: cannot be read: {error.strerror}; the bundle of {run.path} needs it") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return sizes


def _choose_code(run: RunDir, *, accept: bool) -> tuple[Path, dict[str, Any]]:
    """The folder to pack, its digest and commit: the run's snapshot, else this checkout if the run began with it."""
    folder = run.code if run.code.is_dir() else SOURCE
    now = code_state(folder)
    packed = {"digest": code_digest(str(folder)), **now}
    noted = {event.get("digest") for event in Journal(run.journal_file) if event["event"] == "code"}
    if folder == run.code and packed["digest"] in noted:
        return folder, packed
    began = _began_with(run)
    if began == now == {"commit": began["commit"] or "?", "dirty": False}:
        return folder, packed
    told = f"{run.path}: began with {_told(began)}, what is there to pack, {folder}, is {_told(now)}"
    if not accept:
        can_be_had = began["commit"] and not began["dirty"] and folder == SOURCE
        do = f"check out {began['commit']}, or " if can_be_had else ""
        raise ImageError(f"{told}; {do}say --accept-code to pack what is there")
    logger.warning("%s; it is packed all the same", told)
    return folder, packed


def _began_with(run: RunDir) -> Mapping[str, Any]:
    try:
        code = json.loads(run.provenance_file.read_bytes())["code"]
        return {name: code[name] for name in UNKNOWN}
    except (ValueError, LookupError, TypeError):
        return UNKNOWN


def _told(code: Mapping[str, Any]) -> str:
    return f"commit {code['commit']}{' (changed)' if code['dirty'] else ''}" if code["commit"] else "an unknown commit"


def unbundle(source: Path, target: Path) -> Unbundled:
    """Check every file of a bundle, then lay out a run folder from it; says what the new site must fill in."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise RunFolderError(f"{target}: is a file or not empty; unbundle into a new folder")
    _check(source)
    place = target.resolve()
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        with tarfile.open(source) as tar:
            for member in tar:
                if member.name != MANIFEST:
                    _lay_out(tar, member, partial)
        partial.rename(place)
        sync_folder(place.parent)
    except (OSError, tarfile.TarError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise ImageError(
            f"{target}: {source} could not be laid out there: {why or error}; nothing was kept: make room, or give "
            "another place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    image = json.loads((target / IMAGE).read_text())
    return Unbundled(run=RunDir(target.absolute()), to_do=tuple(_to_do(target, image)))


def _lay_out(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """A plain file, as the check has found it to be. tarfile's own filter came with Python 3.11.4."""
    file = folder / LAID_OUT_AS.get(member.name, member.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None
    with source, file.open("wb") as out:
        shutil.copyfileobj(source, out)
    file.chmod((member.mode | 0o600) & 0o755)


def _contents(run: RunDir, code: Path, *, with_image: bool, with_results: bool) -> Iterator[tuple[str, Path]]:
    yield "config.yaml", run.config_file
    yield PROVENANCE, run.provenance_file
    for name in FILES_BESIDE:
        if (code / name).is_file():
            yield f"code/{name}", code / name
    for folder in (*PARTS, *FOLDERS_BESIDE):
        for file in sorted((code / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield f"code/{file.relative_to(code).as_posix()}", file
    if with_results:
        for pattern in RESULTS:
            for file in sorted(p for p in run.path.glob(pattern) if p.is_file()):
                yield f"results/{file.relative_to(run.path).as_posix()}", file
    pinned = read_pinned(run)
    if with_image:
        if pinned is None:
            raise ImageError(f"{run.path}: this run has no image to bundle; leave --with-image out")
        if (found := digest_of(pinned.path, remember=False)) != pinned.digest:
            raise ImageError(
                f"{pinned.path}: is {short(found)}, {run.path} began with {short(pinned.digest)}: bring that image "
                "back, or leave --with-image out and say where it can be pulled from (--image-place)"
            )
        yield f"images/{pinned.path.name}", pinned.path


def _image(run: RunDir, place: str) -> dict[str, str | None]:
    pinned = read_pinned(run)
    if pinned is None:
        return {"digest": None, "file": None, "place": None}
    return {"digest": pinned.digest, "file": pinned.path.name, "place": place or _known_place(pinned)}


def _known_place(pinned: Pinned) -> str | None:
    """Where its shelf's list says that others can pull it from."""
    shelf = Shelf(pinned.path.parent)
    with suppress(ImageError):
        entries = [entry for entry in shelf.entries() if entry.digest == pinned.digest]
        return next((place for entry in entries for place in entry.places if "://" in place), None)
    return None


def _to_do(target: Path, image: dict[str, str | None]) -> Iterator[str]:
    yield f"fill in {target / 'site.yaml'}: " + ", ".join(_blanks(target / "site.yaml"))
    if image["digest"] is None:
        yield "the run used no image: install the code in code/ with `make install`, or build its Apptainer.def"
    elif (target / "images" / str(image["file"])).is_file():
        wanted = f"image={target / 'images' / str(image['file'])}@{image['digest']}"
        yield f"pass --set {shlex.quote(wanted)}"
    else:
        place = image["place"]
        how = f"`python -m selu_hpc.images pull {shlex.quote(place)}`" if place else "get it from its makers"
        yield f"bring the image here: {how}; then pass --set image=FILE@{image['digest']}"
    code = f"{RunDir(target).own_code} python -m selu_hpc"
    named, site = shlex.quote(str(target)), shlex.quote(str(target / "site.yaml"))
    yield f"then, with the bundle's own code: {code}.submit --run {named} --site {site}"
    yield f"and see whether the bytes are the same: {code}.images compare --run {named}"


def _blanks(site: Path) -> Iterator[str]:
    values = yaml.safe_load(site.read_text())
    for key, value in values.items():
        if "FILL" in str(value):
            yield key


def _check(source: Path) -> None:
    """Every file of the manifest is there with its hash, and nothing else is; before anything is written."""
    found: dict[str, str] = {}
    manifest: dict[str, str] | None = None
    try:
        with tarfile.open(source) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                known = member.name in FILES or (len(path.parts) > 1 and path.parts[0] in FOLDERS)
                if not (known and member.isfile()) or ".." in path.parts or member.name in found:
                    raise ImageError(f"{source}: holds {member.name!r}, which no bundle has; nothing was written")
                stream = tar.extractfile(member)
                assert stream
                if member.name == MANIFEST:
                    manifest = json.loads(stream.read())["files"]
                else:
                    found[member.name] = _sha256(stream)
    except (OSError, tarfile.TarError, ValueError, KeyError) as error:
        raise ImageError(f"{source}: not a whole bundle: {error}; fetch it again") from error
    if manifest is None:
        raise ImageError(f"{source}: has no {MANIFEST}: it was cut short or is no bundle; fetch it again")
    wrong = sorted(name for name in {*manifest, *found} if manifest.get(name) != found.get(name))
    if wrong:
        raise ImageError(f"{source}: {', '.join(wrong[:5])} differ from the manifest; nothing was written")


def _add(tar: tarfile.TarFile, name: str, file: Path) -> str:
    info = tarfile.TarInfo(name)
    info.size, info.mode = file.stat().st_size, 0o644
    with file.open("rb") as stream:
        tar.addfile(info, stream)
    with file.open("rb") as stream:
        return _sha256(stream)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> str:
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))
    return hashlib.sha256(data).hexdigest()


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
