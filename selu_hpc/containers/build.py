"""Builds the image with apptainer; what need not be installed again is taken from an image of the same pins.

Owns the build arguments and the two hashes an image carries as labels: of its dependencies and of its definition.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import digest_of
from selu_hpc.containers.mounts import Mount, quoted
from selu_hpc.containers.shelf import Entry, Made, Shelf
from selu_hpc.containers.trust import require_trusted
from selu_hpc.errors import ImageError
from selu_hpc.recipes.refusals import NAME
from selu_hpc.rounds.provenance import SOURCE, code_state

logger = logging.getLogger(__name__)

PROJECT = "pyproject.toml"
DEPENDENCY_FILES = (PROJECT, "constraints.txt", "requirements-no-deps.txt")
SOURCE_FOLDERS = ("selu_hpc", "configs")
DEFINITION = "Apptainer.def"
COMPRESSION = ("--mksquashfs-args", "-comp zstd -Xcompression-level 6")
"""Builds and starts faster than squashfs's default gzip at about the same size (docs/results.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What a person may choose about a build."""

    name: str = "selu_hpc"
    bootstrap: str = "docker"
    base: str = "debian:bookworm-slim"
    variant: str = "cpu"
    torch: str = ""
    definition: Path = SOURCE / DEFINITION
    wheels: Path | None = None
    ca_file: Path | None = None
    trusted_keys: tuple[str, ...] = ()
    """Whose images, beside those built here, may stand for a build or be built on."""
    fresh: bool = False

    @property
    def requirement(self) -> str:
        """What pip is asked for: PyPI's torch is for NVIDIA cards: 2.7 GB of wheels, against 0.2 GB for the CPU.

        Three equals signs, since for two of them a lent wheel of 2.13.0+cpu will do.
        """
        return self.torch or ("torch===2.13.0" if self.variant == "cuda" else "torch==2.13.0+cpu")


def build(options: BuildOptions, *, shelf: Shelf, apptainer: Apptainer) -> Entry:
    """Build, hash and shelve an image; one of the same name and definition is taken from the shelf instead."""
    _refuse_wrong(options)
    dependencies, definition = hashes(options)
    asked = (options.name, definition)
    for entry in shelf.entries() if not options.fresh else ():
        if (entry.name, entry.definition) == asked and _is_known(entry, shelf, options, apptainer):
            logger.info("%s is built from the same definition: nothing to do", shelf.file(entry))
            return entry
    shelf.path.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with _context(options) as context, tempfile.TemporaryDirectory(dir=shelf.path, prefix=".build-") as folder:
        made = Path(folder) / "image.sif"
        line = build_line(
            options,
            made,
            dependencies=dependencies,
            definition=definition,
            on=_base(options, shelf, apptainer),
            compress="--mksquashfs-args" in apptainer.run(["build", "--help"]),
        )
        logger.info("apptainer %s", " ".join(line))
        with _inside(context):
            apptainer.run(line, show=True)
        entry = shelf.add(
            made,
            name=options.name,
            is_built_here=True,
            made=Made(
                commit=_commit(),
                definition=definition,
                dependencies=dependencies if options.definition.name == DEFINITION else "",
            ),
        )
    logger.info("built %s in %.0f s", entry.title, time.monotonic() - started)
    return entry


def _refuse_wrong(options: BuildOptions) -> None:
    """What would come out minutes later, by Apptainer's word or none."""
    if not NAME.fullmatch(options.name):
        raise ImageError(f"--name {options.name!r}: give a name without / that begins with no dot")
    if not options.definition.is_file():
        raise ImageError(f"no definition file {options.definition}; the package's own is {SOURCE / DEFINITION}")
    if options.wheels and not options.wheels.is_dir():
        raise ImageError(f"--wheels {options.wheels}: no such folder")
    if options.ca_file and not options.ca_file.is_file():
        raise ImageError(f"--ca-file {options.ca_file}: no such file")
    if options.bootstrap == "localimage" and not Path(options.base).exists():
        raise ImageError(f"--base {options.base}: no such image or folder, which --bootstrap localimage begins from")


def build_line(
    options: BuildOptions,
    made: Path,
    *,
    dependencies: str,
    definition: str,
    on: Path | None,
    compress: bool = True,
) -> list[str]:
    """The arguments of `apptainer build`; pure but for the date and the commit."""
    # The build runs in another folder than this one.
    given = str(Path(options.base).absolute()) if options.bootstrap == "localimage" else options.base
    bootstrap, base = ("localimage", str(on)) if on else (options.bootstrap, given)
    arguments = {
        "BOOTSTRAP": bootstrap,
        "BASE": base,
        "TORCH": options.requirement,
        "VARIANT": options.variant,
        "COMMIT": _commit(),
        "DATE": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))),
        "DEPENDENCIES": dependencies,
        "DEFINITION": definition,
        "ORIGIN": origin(options),
    }
    line = ["build", "--force", *(COMPRESSION if compress else ())]  # else a base's labels outlive the build's own
    if os.getuid() != 0:
        line.append("--fakeroot")
    for key, value in arguments.items():
        line += ["--build-arg", quoted(f"{key}={value}")]
    if options.wheels:
        line += Mount(str(options.wheels.absolute()), "/build/wheels").words
    if options.ca_file:
        line += Mount(str(options.ca_file.absolute()), "/build/ca.crt").words
    return [*line, str(made), options.definition.name]


def hashes(options: BuildOptions) -> tuple[str, str]:
    """(what is installed, everything that makes the image), twelve hex digits each."""
    chosen = [options.requirement, options.variant, *_installed(), origin(options)]
    files = [SOURCE / name for name in DEPENDENCY_FILES if name != PROJECT]
    dependencies = _hash([*files, options.definition], chosen)
    sources = [file for folder in SOURCE_FOLDERS for file in _source_files(SOURCE / folder)]
    return dependencies, _hash(sources, [dependencies])


def origin(options: BuildOptions) -> str:
    """What the build starts from, as far as this machine knows: a local image by its digest, a folder by its path."""
    base = Path(options.base).absolute()
    is_local = options.bootstrap == "localimage"
    named = digest_of(base) if is_local and base.is_file() else str(base) if is_local else options.base
    return f"{options.bootstrap} {named}"


def _commit() -> str:
    """The commit the image is built of, with "+" where the checkout differs from it."""
    state = code_state()
    return f"{state['commit']}{'+' if state['dirty'] else ''}" if state["commit"] else "unknown"


def _installed() -> list[str]:
    """What pyproject.toml has installed; linters' settings and what only tests need make no other image."""
    project = tomllib.loads((SOURCE / PROJECT).read_text(encoding="utf-8"))
    return sorted([*project["project"]["dependencies"], *project["build-system"]["requires"]])


def _hash(files: Sequence[Path], words: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for file in files:
        relative = file.relative_to(SOURCE) if file.is_relative_to(SOURCE) else Path(file.name)
        digest.update(f"\0{relative}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _source_files(folder: Path) -> Iterator[Path]:
    yield from sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def _is_known(entry: Entry, shelf: Shelf, options: BuildOptions, apptainer: Apptainer) -> bool:
    """Whether it has the bytes that its digest says, and is ours or signed: anybody can write labels into an image."""
    if digest_of(shelf.file(entry)) != entry.digest:
        return False
    if entry.digest in shelf.built_here():
        return True
    if not options.trusted_keys:
        logger.info("%s was not built here, so it is not built on; --site says whose signatures will do", entry.title)
        return False
    try:
        require_trusted(shelf.file(entry), options.trusted_keys, apptainer=apptainer)
    except ImageError as error:
        logger.info("not built on: %s", error)
        return False
    return True


def _base(options: BuildOptions, shelf: Shelf, apptainer: Apptainer) -> Path | None:
    """An image on the shelf with the same dependencies: only the project's source is laid over it."""
    if options.fresh or options.definition.name != DEFINITION:
        return None
    dependencies, _ = hashes(options)
    same = [entry for entry in shelf.entries() if entry.dependencies == dependencies]
    return next((shelf.file(entry) for entry in same if _is_known(entry, shelf, options, apptainer)), None)


class _context:  # noqa: N801 - a context manager in function's clothes
    """A clean copy of what the definition's %files names, without caches, for apptainer to copy from."""

    def __init__(self, options: BuildOptions) -> None:
        self.options = options

    def __enter__(self) -> Path:
        self.folder = Path(tempfile.mkdtemp(prefix="selu-image-"))
        for name in (*DEPENDENCY_FILES, "README.md"):
            shutil.copy2(SOURCE / name, self.folder / name)
        for name in SOURCE_FOLDERS:
            shutil.copytree(SOURCE / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(self.options.definition, self.folder / self.options.definition.name)
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class _inside:  # noqa: N801
    """%files paths are relative to the working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = Path.cwd()
        os.chdir(self.folder)

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)
