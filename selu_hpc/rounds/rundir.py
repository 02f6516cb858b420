"""Every path, marker and seal of a run folder.

    RUN/config.yaml  provenance.json  journal.jsonl  lock  code/
    RUN/rounds/01/rollout/shard-0003/{episodes.zarr, done.json, attempt-0/log.txt}
    RUN/rounds/01/label/shard-0003/{labels.zarr, done.json, attempt-0/log.txt}
    RUN/rounds/01/gate/shard-0000/{seal.json, actor.jsonl, critic.jsonl, card.json, done.json}
    RUN/rounds/01/finetune_actor/shard-0000/{adapter/, curve.json, checkpoints/, done.json}
    RUN/rounds/01/evaluate/shard-0000/{results.json, episodes.zarr, done.json}
    RUN/truth/01/rollout/shard-0003/truth.zarr       for evaluation, what shows runs, and the oracle's labels alone
    RUN/{image.json, jobs/, scenes/, report/}        the image, what Slurm was sent, surveyed scenes, pages
    RUN/{origin.json, origin-provenance.json}        of a run from a bundle: what is known of where it came from

Round 0 is the base model: its test sets and its evaluation. A finished piece of work is a folder with a marker that has
the size and hash of every file; nothing else counts.
Does not own what is inside a store (store/) or what is due next (plan.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from selu_hpc.errors import CorruptShardError, MissingShardError, RunFolderError, UnreadableShardError
from selu_hpc.rounds.restoring import how_to_restore

MARKER = "done.json"
RESULTS = "results.json"
"""What an evaluation measured, in its shard's folder."""
CARD = "card.json"
"""What a round's sets are made of, in the gate's folder."""


class Stage(StrEnum):
    """The stages of a round, in the order of docs/architecture.md's picture; the value is the folder's name."""

    TESTSET = "testset"
    ROLLOUT = "rollout"
    LABEL = "label"
    GATE = "gate"
    FINETUNE_ACTOR = "finetune_actor"
    FINETUNE_CRITIC = "finetune_critic"
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True)
class Marker:
    """What a finished shard is: every file's size and hash, the content's digest, and a summary.

    content: digest of what the shard means; equal for equal work however it was cut, killed or resumed
    (time stamps and wall-clock figures are in files but not in it).
    files: path relative to the shard's folder → (bytes, blake2b-128 hex).
    summary: counts for status and reports ("episodes": 48); wall-clock seconds; the attempt that did it.
    """

    content: str
    files: dict[str, tuple[int, str]]
    summary: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"content": self.content, "files": self.files, "summary": self.summary}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Marker:
        files = {name: (int(size), str(digest)) for name, (size, digest) in value["files"].items()}
        return cls(content=value["content"], files=files, summary=value["summary"])


@dataclass(frozen=True, slots=True)
class ShardDir:
    """One piece of work of a stage: `run.shard(1, Stage.ROLLOUT, 3)`."""

    run: RunDir
    round_id: int
    stage: Stage
    shard: int

    @property
    def name(self) -> str:
        return f"r{self.round_id:02d}-{self.stage}-s{self.shard:04d}"

    @property
    def remedy(self) -> str:
        """Where to look when its bytes are not what was written: submit alone helps in unsealed rounds only."""
        what = f"r{self.round_id:02d}/{self.stage}/{self.shard}"
        return f"`{self.run.command('explain', what)}` says what to type to have it made anew"

    @property
    def path(self) -> Path:
        return self.run.stage(self.round_id, self.stage) / f"shard-{self.shard:04d}"

    @property
    def truth(self) -> Path:
        """Where this shard's evaluation truth lies, outside everything a learning stage may open."""
        return self.run.truth / f"{self.round_id:02d}" / str(self.stage) / f"shard-{self.shard:04d}"

    @property
    def marker_file(self) -> Path:
        return self.path / MARKER

    @property
    def episodes(self) -> Path:
        return self.path / "episodes.zarr"

    @property
    def labels(self) -> Path:
        return self.path / "labels.zarr"

    @property
    def hands(self) -> Path:
        """What was said and paid in a shard's games, a line a game (RL4VLM)."""
        return self.path / "hands.zarr"

    def attempt(self, number: int) -> Path:
        return self.path / f"attempt-{number}"

    @property
    def attempts(self) -> list[int]:
        """The numbers of the attempts that were begun, in order."""
        return sorted(int(path.name[8:]) for path in self.path.glob("attempt-*") if path.name[8:].isdigit())

    def begin_attempt(self) -> int:
        """The first number nobody has used; its folder is made at once, so that two never share it."""
        number = max(self.attempts, default=-1) + 1
        while True:
            try:
                self.attempt(number).mkdir(parents=True)
                return number
            except FileExistsError:
                number += 1

    def log(self, attempt: int) -> Path:
        return self.attempt(attempt) / "log.txt"

    def progress(self, attempt: int) -> Path:
        """How far an attempt is."""
        return self.attempt(attempt) / "progress.json"

    def record(self, attempt: int) -> Path:
        """How an attempt on Slurm began and ended; slurm/stage.sh writes it on the node."""
        return self.attempt(attempt) / "job.json"

    def read_marker(self) -> Marker | None:
        """The marker, or None when there is none; a marker is written whole or not at all."""
        try:
            return Marker.from_json(json.loads(self.marker_file.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptShardError(f"{self.marker_file}: not a marker ({error}); {self.remedy}") from error

    def require_marker(self) -> Marker:
        marker = self.read_marker()
        if marker is None:
            raise MissingShardError(
                f"round {self.round_id} {self.stage}: shard {self.shard} has no marker in {self.path}; "
                f"read its newest attempt-*/log.txt, then run `{self.run.command('submit')}`"
            )
        return marker

    def read_json(self, name: str) -> Any:
        """A file of this finished shard."""
        try:
            return json.loads((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise CorruptShardError(f"{self.path / name}: cannot be read: {error}; {self.remedy}") from error

    def write_marker(self, *, content: str, names: Iterable[str], summary: Mapping[str, Any]) -> Marker:
        """Hash the named files and folders below this shard and mark it finished; the last write of a stage.

        What the marker speaks of is made durable first, whoever wrote it.
        """
        marker = Marker(content=content, files=hash_files(self.path, names), summary=dict(summary))
        sync_files(self.path, marker.files)
        write_json(self.marker_file, marker.to_json())
        return marker

    def check(self, *entries: str) -> Marker:
        """Compare every file, or what is in these files and folders, with the marker; raises CorruptShardError that
        names the first difference, which is an UnreadableShardError where the bytes could not be had."""
        marker = self.require_marker()
        for name, (size, digest) in marker.files.items():
            if entries and name.partition("/")[0] not in entries:
                continue
            file = self.path / name
            try:
                found = _fingerprint(file) if file.is_file() else None
            except OSError as error:
                raise UnreadableShardError(
                    f"round {self.round_id} {self.stage}: shard {self.shard}: {file} cannot be read: {error.strerror}; "
                    f"when its storage is well, {self.remedy}"
                ) from error
            if found != (size, digest):
                what = "is missing" if found is None else f"has {found[0]} bytes, hash {found[1][:8]}"
                raise CorruptShardError(
                    f"round {self.round_id} {self.stage}: shard {self.shard}: {file} {what}, its marker says "
                    f"{size} bytes, hash {digest[:8]}; {self.remedy}"
                )
        return marker


@dataclass(frozen=True, slots=True)
class RunDir:
    """A run's folder; every path the package uses below it is a property or method here."""

    path: Path

    def command(self, name: str, *words: str) -> str:
        """A command on this run, to be typed as it stands: `run.command("explain", "r02/label")`."""
        return " ".join([f"python -m selu_hpc.{name} --run {shlex.quote(str(self.path))}", *words])

    @property
    def own_code(self) -> str:
        """What stands before a command so that the run's own code runs, also where a checkout is the current folder."""
        return f"PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(str(self.code))}"

    def require(self) -> None:
        """Raises RunFolderError where no run was begun, or its config.yaml is gone."""
        if not self.config_file.is_file():
            if self.provenance_file.is_file():
                raise RunFolderError(f"{self.path}: its config.yaml is gone\n{self.how_to_restore}")
            raise RunFolderError(
                f"{self.path}: not a run folder (no config.yaml); give the folder that submit named with --run"
            )

    @property
    def how_to_restore(self) -> str:
        """What brings the run's config.yaml back."""
        return how_to_restore(self.config_file, self.provenance_file)

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def provenance_file(self) -> Path:
        return self.path / "provenance.json"

    @property
    def journal_file(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def image_file(self) -> Path:
        """The image the run began with (containers/pinned.py); absent when it runs on the host."""
        return self.path / "image.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def code(self) -> Path:
        return self.path / "code"

    @property
    def truth(self) -> Path:
        return self.path / "truth"

    @property
    def scenes(self) -> Path:
        """What scenes make feasible, remembered; a cache."""
        return self.path / "scenes"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def jobs(self) -> Path:
        """Where a scheduler's own files lie (batch scripts and Slurm's logs)."""
        return self.path / "jobs"

    def round(self, round_id: int) -> Path:
        return self.path / "rounds" / f"{round_id:02d}"

    def stage(self, round_id: int, stage: Stage) -> Path:
        return self.round(round_id) / str(stage)

    def shard(self, round_id: int, stage: Stage, shard: int = 0) -> ShardDir:
        return ShardDir(self, round_id, stage, shard)

    def unfinished(self, round_id: int, stage: Stage, num_shards: int) -> list[int]:
        """The shards of a stage without a marker; one listing, then one look per folder that is there."""
        folder = str(self.stage(round_id, stage))
        try:
            present = set(os.listdir(folder))  # noqa: PTH208 - names only, and it makes NFS look again
        except FileNotFoundError:
            return list(range(num_shards))
        names = (f"shard-{shard:04d}" for shard in range(num_shards))
        return [
            shard
            for shard, name in enumerate(names)
            if name not in present or not os.path.exists(f"{folder}/{name}/{MARKER}")  # noqa: PTH110 - 10,000 of them
        ]

    def seal(self, round_id: int) -> Path:
        """The manifest of the rollout and label shards that the round's gate accepted."""
        return self.shard(round_id, Stage.GATE).path / "seal.json"

    def dataset(self, round_id: int, role: str) -> Path:
        """The round's fine-tuning set of a role: one `Sample` as JSON a line."""
        return self.shard(round_id, Stage.GATE).path / f"{role}.jsonl"

    def adapter(self, round_id: int, role: str) -> Path | None:
        """The adapter a role uses after a round; None after round 0, which is the base itself."""
        if round_id == 0:
            return None
        return self.shard(round_id, Stage(f"finetune_{role}")).path / "adapter"

    def relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def shard_of(path: Path) -> ShardDir | None:
    """The shard whose folder a path lies in, or whose truth."""
    stages = "|".join(Stage)
    found = re.match(rf"(.+)/(?:rounds|truth)/(\d+)/({stages})/shard-(\d+)(?:/|$)", path.as_posix(), re.DOTALL)
    return RunDir(Path(found[1])).shard(int(found[2]), Stage(found[3]), int(found[4])) if found else None


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees all of it or none: temporary name, fsync, rename, fsync of the folder."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """The whole file or none of it, durable. What a link names is written, not the link; a device or a pipe, which
    people name for a page, has no other name to be written under."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        with path.open("wb") as device:
            device.write(data)
        return
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(folder: Path, names: Iterable[str]) -> None:
    """Make these files below a folder durable, with their names in it."""
    files = [folder / name for name in names]
    for file in files:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    for place in {place for file in files for place in file.parents if place.is_relative_to(folder)}:
        sync_folder(place)


def hash_files(folder: Path, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Size and hash of every file under the named entries, by path relative to the folder."""
    found: dict[str, tuple[int, str]] = {}
    for name in names:
        entry = folder / name
        files = sorted(p for p in entry.rglob("*") if p.is_file()) if entry.is_dir() else [entry]
        for file in files:
            found[file.relative_to(folder).as_posix()] = _fingerprint(file)
    return found


def _fingerprint(file: Path) -> tuple[int, str]:
    digest = hashlib.blake2b(digest_size=16)
    size = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()
