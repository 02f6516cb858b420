"""One shard's episodes in one Zarr store: what its files are, and the one writer of it.

    episodes.zarr/
      zarr.json                         written last: the store is finished; size and checksum of the other files
      frames/{zarr.json, c.K.0.0...}    (episodes, frames, views, ...): a chunk a frame, a file sixteen episodes
      episodes/{zarr.json, c.0.0}       a row of JSON an episode: all but frames and timestamps
      timestamps_s/{zarr.json, c.0.0}   (episodes, frames) seconds, NaN where there is none
      commits.log                       only while it is being written: what is acknowledged

An episode is acknowledged when its line is in the commit log, which is written after the file with its frames.
Does not own how frames are coded (pictures.py), where chunks lie (framefiles.py) or reading (reader.py).
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import numpy as np

from selu_hpc.errors import CorruptShardError, RunFolderError, UnreadableShardError
from selu_hpc.records import Episode
from selu_hpc.store import arrays, chunks
from selu_hpc.store.commits import CommitLog
from selu_hpc.store.framefiles import FrameFiles
from selu_hpc.store.pictures import NUM_VIEWS, codec_for
from selu_hpc.store.reader import EPISODES, FRAMES, KIND, STORAGE, TIMESTAMPS, EpisodeReader
from selu_hpc.store.roots import NFS_KEEPS, content_digest, read_root, write_root

logger = logging.getLogger(__name__)

__all__ = ["EpisodeReader", "EpisodeWriter"]


class EpisodeWriter:
    """Writes a store, or goes on with what an earlier writer acknowledged; `num_committed` is where to go on.

    Acknowledged episodes whose bytes are damaged are given up together with those after them; where storage does not
    give the bytes, which may be whole, nothing is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        num_steps: int,
        height: int,
        width: int,
        codec: str = "lossless",
        episodes_per_chunk_shard: int = 16,
    ) -> None:
        self.folder = folder
        self._frame_shape = (NUM_VIEWS, height, width, 3)
        self._files = FrameFiles(
            folder / FRAMES,
            codec_for(codec, height=height, width=width),
            num_frames=num_steps + 1,
            per_shard=episodes_per_chunk_shard,
        )
        self._chunks: list[list[Future[bytes]]] = []
        self._pending: list[dict[str, Any]] = []
        self._log = CommitLog.begin(folder, KIND)
        try:
            if self._log is None:
                self.num_committed = int(read_root(folder, KIND)["num_records"])
                return
            (folder / FRAMES).mkdir(exist_ok=True)
            self.num_committed = len(self._log.records)
            self._check_settings()
            self._give_up_damaged()
            self._reload()
        except OSError as error:
            self.close()
            raise (arrays.refused if error.errno in arrays.CAN_NOT_WRITE else arrays.unread)(folder, error) from error
        except BaseException:
            self.close()
            raise

    def append(self, episode: Episode) -> None:
        """Take an episode; it is acknowledged when its file is full or flush() has returned."""
        self._require_open()
        self._check_frames(episode)
        rows, facts = self._files.codec.encode(episode.frames_tvhwc)
        self._chunks.append([chunks.workers().submit(chunks.compress, row) for views in rows for row in views])
        self._pending.append(
            {
                "record": {**episode.meta_json(), STORAGE: facts},
                "timestamps_s": list(episode.timestamps_s[: len(rows)]),
            }
        )
        if len(self._chunks) == self._files.per_shard:
            self.flush()

    def flush(self) -> None:
        """Make everything appended so far durable; after an error it may be called again."""
        if not self._pending:
            return
        log = self._require_open()
        total = self.num_committed + len(self._pending)
        episodes = [[chunk.result() for chunk in episode] for episode in self._chunks]
        self._files.write(self.num_committed // self._files.per_shard, episodes, num_episodes=total)
        log.append(self._pending)
        self.num_committed = total
        self._pending = []
        if len(self._chunks) == self._files.per_shard:
            self._chunks = []

    def rewind(self, num_episodes: int) -> None:
        """Take back every episode from `num_episodes` on, acknowledged or not; a finished store is open again."""
        if num_episodes >= self.num_committed and not self._pending:
            return
        if self._log is None:
            self._log = CommitLog.reopen(self.folder, self._commits()[:num_episodes])
        self._pending = []
        self._log.rewind(num_episodes)
        self.num_committed = len(self._log.records)
        self._reload()

    def finish(self) -> str:
        """Flush, write what readers need and return the content's digest, which leaves out timestamps."""
        if self._log is None:
            return str(read_root(self.folder, KIND)["content"])
        self.flush()
        records = [commit["record"] for commit in self._log.records]
        self._remove_strays()
        arrays.write_metadata(self.folder / FRAMES, self._files.metadata(len(records)))
        arrays.write_records(self.folder / EPISODES, records)
        self._write_timestamps([commit["timestamps_s"] for commit in self._log.records])
        content = content_digest(records)
        write_root(self.folder, KIND, checked=(FRAMES, EPISODES), num_records=len(records), content=content)
        self._log.remove()
        self.close()
        return content

    def close(self) -> None:
        """Let go of the store; what is not flushed is not kept."""
        self._files.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _commits(self) -> list[dict[str, Any]]:
        """The commit log's records of a finished store."""
        with EpisodeReader(self.folder) as reader:
            return [reader.commit(index) for index in range(len(reader))]

    def _require_open(self) -> CommitLog:
        if self._log is None:
            raise RunFolderError(f"{self.folder}: the store is finished or closed; open another attempt's folder")
        return self._log

    def _check_frames(self, episode: Episode) -> None:
        frames, expected = episode.frames_tvhwc, (episode.num_steps + 1, *self._frame_shape)
        if frames.shape != expected or frames.dtype != np.uint8:
            raise ValueError(
                f"{self.folder}: episode {episode.episode_id} has {episode.num_steps} actions and "
                f"{frames.dtype} frames {frames.shape}; expected uint8 {expected}"
            )
        if len(frames) > self._files.num_frames:
            raise ValueError(
                f"{self.folder}: episode {episode.episode_id} has {episode.num_steps} actions, "
                f"the store takes up to {self._files.num_frames - 1}"
            )

    def _check_settings(self) -> None:
        """A store is continued with the settings it was begun with."""
        if self.num_committed == 0:
            return
        try:
            found = FrameFiles.of(self.folder / FRAMES)
        except UnreadableShardError:
            raise
        except CorruptShardError as error:
            logger.warning("%s; the store is begun anew", error)
            self.rewind(0)
            return
        if found.metadata(0) != self._files.metadata(0):
            raise RunFolderError(
                f"{self.folder}: begun with {_settings(found)}, now asked for {_settings(self._files)}; "
                "use the settings it was begun with or remove the folder"
            )

    def _give_up_damaged(self) -> None:
        log = self._require_open()
        for index, commit in enumerate(log.records):
            facts, num_frames = commit["record"][STORAGE], len(commit["record"]["actions"]) + 1
            try:
                self._files.codec.decode(self._files.rows(index, num_frames), facts)
            except (FileNotFoundError, ValueError) as error:
                logger.warning("%s: episode %s is damaged (%s); it is made anew", self.folder, index, error)
                self.rewind(index)
                return

    def _reload(self) -> None:
        """Bring back the chunks of the last, unfilled file, which is written anew at the next flush."""
        log = self._require_open()
        self._files.close()
        self._chunks = []
        for index in range(self.num_committed - self.num_committed % self._files.per_shard, self.num_committed):
            num_frames = len(log.records[index]["record"]["actions"]) + 1
            self._chunks.append([_done(chunk) for chunk in self._files.stored(index, num_frames)])
        self._files.close()  # NFS keeps an open file that is replaced under a name of its own, which can't be removed

    def _remove_strays(self) -> None:
        """What killed writers left: temporary files, and files past the last episode."""
        keep = {self._files.path(index // self._files.per_shard) for index in range(self.num_committed)}
        for file in (self.folder / FRAMES).iterdir():
            if file not in keep and file.name != "zarr.json" and not file.name.startswith(NFS_KEEPS):
                file.unlink()
        for folder in (self.folder, self.folder / EPISODES, self.folder / TIMESTAMPS):
            arrays.remove_partial_files(folder)

    def _write_timestamps(self, times: list[list[float]]) -> None:
        values = np.full((len(times), self._files.num_frames), np.nan, "<f8")
        for row, found in zip(values, times, strict=True):
            row[: len(found)] = found
        chunk = (max(1, len(values)), self._files.num_frames)
        metadata = arrays.array_metadata(values.shape, "float64", chunk=chunk, names=("episode", "frame"), fill="NaN")
        arrays.write_array(self.folder / TIMESTAMPS, values, metadata)


def _settings(files: FrameFiles) -> str:
    metadata = files.metadata(0)
    height, width = metadata["attributes"]["height"], metadata["attributes"]["width"]
    return f"{files.codec.name} {width}x{height}, {files.num_frames - 1} steps, {files.per_shard} episodes a file"


def _done(chunk: bytes) -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_result(chunk)
    return future
