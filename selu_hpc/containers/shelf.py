"""A folder of images, shared by a lab: files named by digest, read-only, with a list of what each one is.

`lock.json` beside them is meant to be published: name, digest, size, commit, definition hash and where to pull from.
What it has of an image that came from elsewhere is that image's own word; which were built here it says, too.
An image is told by its name and its digest: equal bytes under two names are two files, and two lines of the list.
A file gets its final name only after its digest is known to be right.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console

from selu_hpc.containers.digest import digest_of, short
from selu_hpc.errors import ImageError
from selu_hpc.rounds.lock import holder, wait_for_lock
from selu_hpc.rounds.rundir import sync_folder, write_json

logger = logging.getLogger(__name__)

READABLE = 0o444
DIGEST = re.compile("sha256:([0-9a-f]{12}|[0-9a-f]{64})")
"""As `list` shows it, or whole."""
LEFT_BEHIND_S = 24 * 3600.0
"""Builds and pulls end within a day; what is older was left by one that was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an image was made of: the commit, and the two hashes of build.py."""

    commit: str = ""
    definition: str = ""
    dependencies: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Made):
    """One image: its name, the SHA-256 of its file, and where it came from or was pushed to."""

    name: str
    digest: str
    size: int
    places: tuple[str, ...] = ()

    @property
    def made(self) -> Made:
        return Made(commit=self.commit, definition=self.definition, dependencies=self.dependencies)

    @property
    def title(self) -> str:
        return f"{self.name}@{self.digest} ({self.size / 1e6:.0f} MB)"


@dataclass(frozen=True, slots=True)
class Shelf:
    """`Shelf(Path("images"))`."""

    path: Path

    @property
    def lock_file(self) -> Path:
        return self.path / "lock.json"

    def file(self, entry: Entry) -> Path:
        return self.path / f"{entry.name}-{short(entry.digest).removeprefix('sha256:')}.sif"

    def entries(self) -> list[Entry]:
        """The images that are really there, newest last."""
        return [entry for entry in self._listed() if self.file(entry).is_file()]

    def find(self, wanted: str) -> Entry:
        """By name or file, by digest (whole, or as `list` shows it), or both, `name@sha256:…`; the newest."""
        named, _, digest = wanted.rpartition("@")
        if not DIGEST.fullmatch(digest):
            named, digest = wanted, ""
        for entry in reversed(self.entries()):
            is_named = named == entry.name or self.file(entry) == Path(named).absolute()
            if (is_named or (digest and not named)) and digest in ("", entry.digest, short(entry.digest)):
                return entry
        known = ", ".join(entry.title for entry in self.entries()) or "none"
        raise ImageError(f"no image {wanted!r} in {self.path}; there are: {known}")

    def built_here(self) -> frozenset[str]:
        """Digests of the images whose makers we are, by no word of their own."""
        return frozenset(self._read().get("built_here", []))

    def add(
        self,
        file: Path,
        *,
        name: str,
        made: Made = Made(),
        place: str = "",
        expected: str = "",
        is_built_here: bool = False,
    ) -> Entry:
        """Move a finished file onto the shelf, read-only; a digest other than the expected one is refused.

        Where the same bytes lie there already they stay: whoever looks at them now would find them replaced.
        """
        digest = digest_of(file, remember=False)
        if expected and digest != expected:
            raise ImageError(f"{place or file}: came as {short(digest)}, expected {short(expected)}; nothing was kept")
        places = (place,) if place else ()
        entry = Entry(name=name, digest=digest, size=file.stat().st_size, places=places, **asdict(made))
        with self.locked("adding an image"):
            if self._holds(entry):
                file.unlink()
            else:
                file.chmod(READABLE)
                sync_file(file)
                file.replace(self.file(entry))
                sync_folder(self.path)
            return self._write(entry, is_built_here=is_built_here)

    def _holds(self, entry: Entry) -> bool:
        there = self.file(entry)
        return there.is_file() and digest_of(there, remember=False) == entry.digest

    def copy_in(self, source: Path, *, name: str, made: Made = Made(), expected: str = "", place: str = "") -> Entry:
        try:
            with self.partial(name) as partial:
                copy_shown(source, partial)
                return self.add(partial, name=name, made=made, place=place or str(source), expected=expected)
        except OSError as error:
            raise ImageError(f"{source} could not be copied to {self.path}: {error.strerror or error}") from error

    def sign(self, entry: Entry, signer: Callable[[Path], None]) -> Entry:
        """Sign a copy and shelve it under its new digest: a signature lies in the file and so changes it."""
        try:
            with self.partial(entry.name) as partial:
                shutil.copyfile(self.file(entry), partial)
                signer(partial)
                is_ours = entry.digest in self.built_here()
                return self.add(partial, name=entry.name, made=entry.made, is_built_here=is_ours)
        except OSError as error:
            raise ImageError(f"{self.file(entry)} could not be signed: {error.strerror or error}") from error

    @contextmanager
    def partial(self, name: str) -> Iterator[Path]:
        """A file nobody else writes, for what is not whole yet: shelved, or gone. Two machines have processes of one
        number. prune knows the ending."""
        self.path.mkdir(parents=True, exist_ok=True)
        opened, text = tempfile.mkstemp(prefix=f".{name}.", suffix=".partial", dir=self.path)
        os.close(opened)
        try:
            yield Path(text)
        finally:
            with suppress(OSError):
                Path(text).unlink()

    def note_place(self, entry: Entry, place: str) -> None:
        with self.locked("noting where an image lies"):
            self._write(replace(entry, places=(place,)))

    def describe(self, entry: Entry, made: Made) -> Entry:
        """Note what an image was made of, where that was found out after it was shelved."""
        with self.locked("noting what an image was made of"):
            return self._write(replace(entry, **asdict(made)))

    def prune(self, *, keep: int, used: Sequence[str] = (), dry_run: bool = False) -> list[tuple[str, int]]:
        """Remove all but the newest images of each name, and what interrupted work left; returns names and sizes.

        Images that a run uses stay. The list keeps its line of a removed image: it says where to pull it from.
        """
        with self.locked("removing old images"):
            newest_first = list(reversed(self.entries()))
            old = [
                entry
                for number, entry in enumerate(newest_first)
                if entry.digest not in used and sum(one.name == entry.name for one in newest_first[:number]) >= keep
            ]
            files = [self.file(entry) for entry in old] + [
                left
                for left in self.path.glob(".*")
                if left.name.startswith((".build-", ".tmp-", ".pull-")) or left.suffix == ".partial"
                if _is_old(left)
            ]
            gone = [(file.name, _size(file)) for file in files]
            for file in files if not dry_run else ():
                if file.is_dir():
                    shutil.rmtree(file)
                else:
                    file.unlink(missing_ok=True)
        return gone

    @contextmanager
    def locked(self, purpose: str, *, name: str = ".lock") -> Iterator[None]:
        with ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                if at_work := holder(self.path / name):
                    logger.info("waiting for process %(pid)s on %(host)s, which is %(purpose)s", at_work)
                held.enter_context(wait_for_lock(self.path / name, purpose=purpose))
            except OSError as error:
                raise ImageError(
                    f"{self.path}: {error.strerror or error} while {purpose}; this shelf is not yours to write: choose "
                    "another by --images or SELU_IMAGES"
                ) from error
            yield

    def _listed(self) -> list[Entry]:
        with self._told():
            return [Entry(**{**one, "places": tuple(one["places"])}) for one in self._read()["images"]]

    def _read(self) -> dict[str, Any]:
        with self._told():
            try:
                read = json.loads(self.lock_file.read_bytes())
            except FileNotFoundError:
                return {"images": []}
            return {"images": read["images"], "built_here": [str(one) for one in read.get("built_here", [])]}

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What is wrong with the list, with the way out."""
        try:
            yield
        except PermissionError as error:
            raise ImageError(
                f"{self.lock_file}: {error.strerror}; whoever keeps this shelf must let others read it "
                f"(chmod a+rX {shlex.quote(str(self.path))} {shlex.quote(str(self.lock_file))}), or choose another by "
                "--images or SELU_IMAGES"
            ) from error
        except OSError as error:
            raise ImageError(
                f"{self.lock_file}: {error.strerror}; choose another shelf by --images or SELU_IMAGES"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageError(
                f"{self.lock_file}: no list of images that this version reads ({type(error).__name__}: {error}); use "
                "the version that wrote it, or move it away and list each image anew by "
                f"`python -m selu_hpc.images --images {shlex.quote(str(self.path))} pull FILE@sha256:…` (sha256sum "
                "FILE says the digest)"
            ) from error

    def _write(self, entry: Entry, *, is_built_here: bool = False) -> Entry:
        """Called under the lock; what is known of the image already stays, and so does its place among newer ones."""
        listed = self._listed()
        for known in (one for one in listed if one.digest == entry.digest):
            made = known.made if entry.made == Made() else entry.made
            entry = replace(entry, places=tuple(dict.fromkeys([*known.places, *entry.places])), **asdict(made))
        same = (number for number, one in enumerate(listed) if (one.name, one.digest) == (entry.name, entry.digest))
        at = next(same, len(listed))
        listed[at : at + 1] = [entry]
        ours = self.built_here() | ({entry.digest} if is_built_here else set())
        write_json(self.lock_file, {"images": [asdict(one) for one in listed], "built_here": sorted(ours)})
        # As the images themselves: the keeper's umask must not shut the other users of a shared shelf out.
        self.lock_file.chmod(self.lock_file.stat().st_mode | READABLE)
        return entry


def copy_shown(source: Path, target: Path) -> None:
    """Copy a file of the size of an image, with a progress bar where somebody looks."""
    console = Console(stderr=True)
    shown = progress.open(source, "rb", description=source.name, console=console, disable=not console.is_terminal)
    with shown as file, target.open("wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)


def sync_file(file: Path) -> None:
    """Make a file's bytes durable, so that after a power cut its final name does not stand for half of it."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _is_old(left: Path) -> bool:
    """What a pull that waits makes and removes may be gone by now."""
    with suppress(OSError):
        return time.time() - left.lstat().st_mtime > LEFT_BEHIND_S
    return False


def _size(path: Path) -> int:
    return sum(p.lstat().st_size for p in path.rglob("*")) if path.is_dir() else path.stat().st_size
