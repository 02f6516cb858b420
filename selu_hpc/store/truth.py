"""What the simulator knows of success: written by rollouts, read by evaluation and reports, closed to learning.

The frozen test set, what evaluation found and what reports tell of it lie beside what learning reads; they are as
closed to it, and so is whether the simulator took an action, which lies in the very episodes.
`forbid_truth` is a guard against mistakes, not against malice: it sees every file that is opened through Python, and
what a started program is told on its command line. Native code would get past it (one's own, or `torch.from_file`), and
a program that looks through whole folders by itself.
Does not own how lines are stored (lines.py) or who may evaluate.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from selu_hpc.errors import TruthLeakError
from selu_hpc.records import Truth
from selu_hpc.store.lines import LineReader, LineWriter

TruthUse = Literal["evaluation", "report", "oracle"]
"""What truth is read for."""

_forbidden: dict[str, str] = {}
"""Each run's folder of truths, and the part of it that stays open: a rollout's own, else empty."""
_spelled: dict[str, str] = {}
"""As the run was opened, with links in it, to what that means."""
_BEHIND_PYTHON = "tensorstore"
"""Opens files without Python's `open`, so a learning process does not get to load it."""
_UNGUARDED = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")
"""Start Python anew, without this guard and without a word to it; forks inherit it."""
_EVALUATION = re.compile(
    r"/(?:report|rounds/\d+/(?:evaluate|testset)/shard-\d+/(?:attempt-\d+/)?(?:results\.json|tasks\.json|[^/]+\.zarr))"
    r"(?:/|$)"
)
"""What evaluation reads and writes and reports tell of it, from a run's folder on."""
_FILES = {
    *("open", "os.listdir", "os.scandir", "os.link", "os.symlink", "os.rename", "os.chdir", "shutil.copytree"),
    "sqlite3.connect",
}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"}


class TruthWriter(LineWriter):
    """Appends truths; a rollout flushes it before its episodes, and rewinds it to them when it goes on."""

    def append_truth(self, truth: Truth) -> None:
        self.append(truth.to_json())


class TruthReader:
    """The truths of a shard, in the order of its episodes; `purpose` says what for."""

    def __init__(self, folder: Path, *, purpose: TruthUse) -> None:
        allowed = get_args(TruthUse)
        if purpose not in allowed:
            raise TruthLeakError(f"{folder}: truth is read for {', '.join(allowed)} only, not for {purpose!r}")
        self.truths = tuple(Truth.from_json(record) for record in LineReader(folder).records)

    def __len__(self) -> int:
        return len(self.truths)

    def __getitem__(self, index: int) -> Truth:
        return self.truths[index]


def forbid_truth(truth: Path, *, but: Path | None = None) -> None:
    """From now on nothing in this process may open a path under `truth` (a run's `RunDir.truth`), nor the run's test
    sets, evaluations and reports beside it; not to be undone.

    but: what a rollout itself writes there, and reads when it goes on.
    """
    folder = os.path.realpath(truth)
    _spelled[os.path.abspath(truth)] = folder  # noqa: PTH100 - links stay as they are written
    known = folder in _forbidden
    if not _forbidden:
        sys.addaudithook(_audit)
    _forbidden[folder] = "" if but is None or _forbidden.get(folder) == "" else os.path.realpath(but)
    if known:
        return
    if _BEHIND_PYTHON in sys.modules:
        _guard_loaded(sys.modules[_BEHIND_PYTHON])


def hides_outcomes(store: Path) -> bool:
    """Whether this process learns from the run that the store lies in, so that it is not to know which of the actor's
    actions the simulator took."""
    path = os.path.realpath(store)
    return any(not but and path.startswith(os.path.dirname(folder) + os.sep) for folder, but in _forbidden.items())  # noqa: PTH120


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _forbidden:  # a test has opened all again
        return
    if event in _FILES:
        for path in arguments[:2]:
            if isinstance(path, str | bytes | os.PathLike):
                _refuse_path(path)
    elif event in _PROGRAMS:
        folder = arguments[2] if event == "subprocess.Popen" else None
        start = Path(os.fsdecode(folder)) if isinstance(folder, str | bytes | os.PathLike) else Path()
        for text in _texts(arguments):
            _refuse_word(text, start)
    elif event == "import" and str(arguments[0]).partition(".")[0] == _BEHIND_PYTHON:
        raise TruthLeakError(f"{_BEHIND_PYTHON} opens files behind Python's back; a learning stage may not load it")
    elif event == "import" and arguments[0] in _UNGUARDED:
        raise TruthLeakError("a learning stage may fork, but not start Python anew: the new one could open the truth")


def _refuse_path(path: str | bytes | os.PathLike[Any]) -> None:
    """Raise when a path lies under a forbidden folder, by whatever links it is reached."""
    text = os.fsdecode(path)
    if "\0" in text:
        return
    for folder in _forbidden:
        path = Path(text)
        starts = [Path()] if path.is_absolute() else [Path(), *Path(folder).parents]  # hooks are not told of a dir_fd
        if any(_is_closed(os.path.realpath(start / path), folder) for start in starts):
            raise TruthLeakError(f"{text}: a learning stage may not open what the simulator knows of success")


def _refuse_word(text: str, start: Path) -> None:
    """Raise when a word of a command line names a forbidden folder, seen from where the program starts."""
    for folder in _forbidden:
        if folder in text or any(name in text for name, meant in _spelled.items() if meant == folder):
            raise TruthLeakError(
                f"{text}: a learning stage may not start programs on what the simulator knows of success"
            )
    if "\n" not in text and len(text) < 4096 and os.path.lexists(start / text):
        _refuse_path(start / text)


def _is_closed(path: str, folder: str) -> bool:
    run = os.path.dirname(folder)  # noqa: PTH120 - called for every file that is opened
    if not path.startswith(run + os.sep):
        return False
    but = _forbidden[folder]
    if but and (path == but or path.startswith(but + os.sep)):
        return False
    return path == folder or path.startswith(folder + os.sep) or bool(_EVALUATION.match(path, len(run)))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a program's arguments and working folder; its environment holds no paths to open."""
    if isinstance(value, str | bytes | os.PathLike):
        yield os.fsdecode(value)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _guard_loaded(module: Any) -> None:
    """A library that is loaded already is asked to tell us what it opens."""
    for owner, name in ((module, "open"), (module.KvStore, "open")):
        setattr(owner, name, _guarded(getattr(owner, name)))


def _guarded(opener: Any) -> Any:
    def open_checked(spec: Any, *arguments: Any, **options: Any) -> Any:
        plain = spec.to_json() if hasattr(spec, "to_json") else spec
        for text in _leaves([plain, options]):
            path = text.removeprefix("file://")
            if os.path.lexists(path):
                _refuse_path(path)
        return opener(spec, *arguments, **options)

    return open_checked


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
