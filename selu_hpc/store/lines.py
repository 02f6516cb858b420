"""Append-only JSON records in a small Zarr store: labels, evaluation truth and played games.

    labels.zarr/{zarr.json, records/{zarr.json, c.0.0}}, and commits.log while it is being written

The same promises as for episodes (trajectories.py), one record a row. Does not own what the records mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from selu_hpc.errors import RunFolderError
from selu_hpc.store import arrays
from selu_hpc.store.commits import CommitLog, read_commits
from selu_hpc.store.roots import content_digest, read_root, write_root

RECORDS = "records"
KIND = "lines"


class LineWriter:
    """The one writer of a store of lines; continues what an earlier one acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending: list[dict[str, Any]] = []
        self._log = CommitLog.begin(folder, KIND)
        records = self._log.records if self._log else LineReader(folder).records
        self.num_committed = len(records)

    def append(self, record: dict[str, Any]) -> None:
        """Take a record; it is acknowledged when flush() has returned."""
        self._require_open()
        self._pending.append(record)

    def flush(self) -> None:
        """Make everything appended so far durable."""
        if self._pending:
            self._require_open().append(self._pending)
            self.num_committed += len(self._pending)
            self._pending = []

    def rewind(self, num_records: int) -> None:
        """Take back every record from `num_records` on, acknowledged or not; a finished store is open again."""
        if num_records >= self.num_committed and not self._pending:
            return
        if self._log is None:
            self._log = CommitLog.reopen(self.folder, LineReader(self.folder).records[:num_records])
        self._pending = []
        self._log.rewind(num_records)
        self.num_committed = len(self._log.records)

    def finish(self) -> str:
        """Flush, write what readers need and return the content's digest."""
        if self._log is None:
            return str(read_root(self.folder, KIND)["content"])
        self.flush()
        for folder in (self.folder, self.folder / RECORDS):
            arrays.remove_partial_files(folder)
        records = self._log.records
        arrays.write_records(self.folder / RECORDS, records)
        content = content_digest(records)
        write_root(self.folder, KIND, checked=(RECORDS,), num_records=len(records), content=content)
        self._log.remove()
        self.close()
        return content

    def close(self) -> None:
        """Let go of the store; what is not flushed is not kept."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> CommitLog:
        if self._log is None:
            raise RunFolderError(f"{self.folder}: the store is finished or closed; open another attempt's folder")
        return self._log


class LineReader:
    """The records of a store, finished or still being written; only acknowledged ones exist for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        commits = read_commits(folder)
        if commits is not None:
            self.records = commits
        else:
            root = read_root(folder, KIND, verify=True)
            self.records = arrays.read_records(folder / RECORDS)
            if len(self.records) != root["num_records"]:
                raise arrays.damaged(
                    folder, f"holds {len(self.records)} records, its zarr.json says {root['num_records']}"
                )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.records[index]
