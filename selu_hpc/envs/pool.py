"""Many environments at once, in processes that may die: start, step, watch, replay, and leave nothing behind.

    with EnvironmentPool(config, num_slots=16) as pool:
        seen = pool.reset_many({slot: (task, seed) for slot, (task, seed) in enumerate(work)})
        results = pool.step({slot: "move ahead" for slot in seen})

Every slot is an environment with a simulator process of its own; slots are dealt to `num_processes` worker processes
that step side by side. A worker that fails (its simulator aborted, was killed, hung, or never came up) is killed with
its whole process group, started again, and its slots' episodes are replayed to where they were. The last try is given
the time of a start, so that what is merely slow gets there. A step that no try survives is lost: it is answered as one
that failed, and the episode goes on without it. A task that no trial survives is impossible.
Does not own what a worker does inside (worker.py) or clearing up after our own death (reaper.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from selu_hpc.config import EnvConfig
from selu_hpc.envs.base import NoSuchSceneError, Observation, StepResult
from selu_hpc.envs.worker import Spec, variables_of
from selu_hpc.errors import SimulatorError
from selu_hpc.records import Task, Truth

logger = logging.getLogger(__name__)

FACTORY = "selu_hpc.envs.make:make_environment"
CLOSE_S = 5.0
"""How long a worker may take to stop its simulators before it is killed."""
LAST_LINES = 12
_LOGS = (".ai2thor/log/unity.log", "virtualhome-*.out", "virtualhome-*.log", ".config/unity3d/**/Player.log")
"""Below a worker's HOME: what clients and servers print, and what Unity players write by themselves."""

Request = tuple[int, str, tuple[Any, ...]]


class EnvironmentPool:
    """Environments in numbered slots. Not safe to use from two threads at once."""

    def __init__(
        self,
        config: EnvConfig,
        num_processes: int | None = None,
        *,
        num_slots: int | None = None,
        executable: Sequence[str] = (),
        factory: str = FACTORY,
    ) -> None:
        num_processes = num_processes or config.num_processes
        self.num_slots = num_slots or num_processes
        self._config = config
        self._root = Path(tempfile.mkdtemp(prefix="selu-envs-"))
        self._reaper = _Reaper(self._root)
        self._workers = [
            _Worker(Spec(config, self._root / f"worker-{n}" / "home", factory, tuple(executable)), self._reaper)
            for n in range(min(num_processes, self.num_slots))
        ]
        self._episodes: dict[int, list[Request]] = {}
        self._failures: dict[int, int] = {}
        self._closed = False

    @property
    def num_restarts(self) -> int:
        """Worker processes that were started again so far."""
        return sum(worker.num_restarts for worker in self._workers)

    @property
    def closed(self) -> bool:
        """True after `close`, and after an error that a request ended with."""
        return self._closed

    def reset(self, slot: int, task: Task, seed: int) -> Observation:
        return self.reset_many({slot: (task, seed)})[slot]

    def reset_many(self, episodes: Mapping[int, tuple[Task, int]]) -> dict[int, Observation]:
        """Begin an episode in each of these slots, side by side."""
        return self._run([(slot, "reset", arguments) for slot, arguments in episodes.items()])

    def step(self, texts: Mapping[int, str]) -> dict[int, StepResult]:
        """One step in each of these slots, side by side."""
        return self._run([(slot, "step", (text,)) for slot, text in texts.items()])

    def truth(self, slot: int, episode_id: str) -> Truth:
        found: dict[int, Truth] = self._run([(slot, "truth", (episode_id,))])
        return found[slot]

    def survey(self, what: str, *arguments: Any) -> Any:
        """Ask slot 0's simulator what a scene makes feasible (`survey.Survey`); ends the slot's episode."""
        return self._run([(0, "survey", (what, *arguments))])[0]

    def close(self) -> None:
        """Stop every simulator and remove every folder; again is harmless."""
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            worker.ask_to_close()
        for worker in self._workers:
            worker.end(grace_s=CLOSE_S)
        shutil.rmtree(self._root, ignore_errors=True)
        self._reaper.dismiss()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _worker_of(self, slot: int) -> _Worker:
        if not 0 <= slot < self.num_slots:
            raise IndexError(f"slot {slot}: the pool has slots 0 to {self.num_slots - 1}")
        return self._workers[slot % len(self._workers)]

    def _run(self, requests: Sequence[Request]) -> dict[int, Any]:
        """Deal the requests to their workers and gather the answers; a failed worker is brought back and goes on."""
        if self._closed:
            raise SimulatorError("the pool of environments is closed")
        queues: dict[_Worker, list[Request]] = {}
        for request in requests:
            queues.setdefault(self._worker_of(request[0]), []).append(request)
        try:
            return self._gather(queues)
        except BaseException:
            self.close()
            raise

    def _gather(self, queues: dict[_Worker, list[Request]]) -> dict[int, Any]:
        answers: dict[int, Any] = {}
        for worker, queue in queues.items():
            worker.queue = [*queue]
            self._advance(worker)
        busy = {worker for worker in queues if worker.queue}
        while busy:
            ready = wait(
                [w.connection for w in busy], timeout=max(0.0, min(w.deadline for w in busy) - time.monotonic())
            )
            for worker in list(busy):
                if worker.connection in ready:
                    self._take(worker, answers)
                elif time.monotonic() >= worker.deadline:
                    self._bring_back(worker, f"no answer within {worker.allowed_s:g} s", answers)
                if not worker.queue:
                    busy.discard(worker)
        return answers

    def _take(self, worker: _Worker, answers: dict[int, Any]) -> None:
        try:
            outcome, value = worker.connection.recv()
        except (EOFError, OSError):
            self._bring_back(worker, "the worker process ended", answers)
            return
        if outcome == "ok":
            request = worker.queue.pop(0)
            if worker.replaying:
                worker.replaying -= 1
            else:
                self._remember(request)
                if request[1] in ("reset", "survey"):
                    self._failures.pop(request[0], None)
                answers[request[0]] = value
            self._advance(worker)
        elif outcome == "no scene":
            raise NoSuchSceneError(value)
        elif outcome == "hopeless":
            raise SimulatorError(f"the {self._config.simulator} simulator can't be started: {value}")
        else:
            self._bring_back(worker, value, answers)

    def _advance(self, worker: _Worker) -> None:
        if worker.queue:
            try:
                worker.send(worker.queue[0])
            except OSError:
                # It died between two requests: the answer's place reads as the end of the connection.
                worker.deadline = time.monotonic() + CLOSE_S

    def _bring_back(self, worker: _Worker, why: str, answers: dict[int, Any]) -> None:
        """Kill, start again, and put the episodes so far before what is still to be done."""
        told = worker.last_words()
        worker.end(grace_s=0.0)
        worker.num_restarts += 1
        todo = worker.queue[worker.replaying :]
        failed, what, arguments = worker.queue[0]
        self._failures[failed] = self._failures.get(failed, 0) + 1
        slots = sorted(slot for slot in range(self.num_slots) if self._worker_of(slot) is worker)
        where = ", ".join(str(slot) for slot in slots)
        spent = self._failures[failed] > self._config.max_restarts
        instead = self._instead(worker, spent=spent)
        if instead is not None:
            logger.warning("slot %d's %s is lost: %s", failed, self._told(failed, what, arguments), why)
            todo[0] = instead
            del self._failures[failed]
        elif spent:
            raise SimulatorError(
                f"the {self._config.simulator} process of slots {where} failed {self._failures[failed]} times in slot "
                f"{failed}'s {self._told(failed, what, arguments)}, more than env.max_restarts "
                f"{self._config.max_restarts} allows; the last time: {why}; its last lines:\n{told}"
            )
        logger.warning("slots %s: %s; starting the simulator again and replaying\n%s", where, why, told)
        # What one last try got through, another slot's failure must not put before an ordinary one.
        worker.start(last_try=instead is not None or any(map(self._has_no_more, slots)))
        fresh = {request[0] for request in todo if request[1] == "reset"}
        past = [request for slot in slots if slot not in fresh for request in self._episodes.get(slot, ())]
        worker.replaying = len(past)
        worker.queue = past + todo
        self._advance(worker)

    def _instead(self, worker: _Worker, *, spent: bool) -> Request | None:
        """What to ask in place of what failed: of a deed or a trial that no try survives the answer is no."""
        slot, what, arguments = worker.queue[0]
        if worker.replaying:
            return None
        if what == "step" and slot in self._episodes and (spent or self._has_lost(slot)):
            return slot, "lose", arguments
        if what == "survey" and arguments[0] == "possible" and spent:
            return slot, "survey", ("give_up", *arguments[1:])
        return None

    def _has_no_more(self, slot: int) -> bool:
        """Whether the next failure of the slot is its last."""
        return self._failures.get(slot, 0) >= self._config.max_restarts or self._has_lost(slot)

    def _has_lost(self, slot: int) -> bool:
        """Whether the tries of the slot's episode were spent on an earlier step; the next has but one."""
        return any(what == "lose" for _, what, _ in self._episodes.get(slot, ()))

    def _told(self, slot: int, what: str, arguments: tuple[Any, ...]) -> str:
        """Which task or scene it was and what was asked, as far as it is known."""
        if what == "survey":
            asked, about, *rest = arguments
            named = f"{about.instruction!r} in {about.scene}" if isinstance(about, Task) else about
            return f"survey ({named}) at {' '.join((asked, *rest))}"
        begun = (what, arguments) if what == "reset" else self._episodes.get(slot, [(slot, "", ())])[0][1:]
        task = f" ({begun[1][0].instruction!r} in {begun[1][0].scene})" if begun[0] == "reset" else ""
        asked = f"{what} {arguments[0]!r}"[:120] if what in ("step", "lose") else what
        return f"episode{task} at {asked}"

    def _remember(self, request: Request) -> None:
        """What was answered is what a replay must do again."""
        slot, what, _ = request
        if what == "reset":
            self._episodes[slot] = [request]
        elif what in ("step", "lose"):
            self._episodes[slot].append(request)


class _Worker:
    """The pool's end of one worker process."""

    def __init__(self, spec: Spec, reaper: _Reaper) -> None:
        self._spec = spec
        self._reaper = reaper
        self._process: subprocess.Popen[bytes] | None = None
        self._started: set[int] = set()
        self.num_restarts = 0
        self.queue: list[Request] = []
        self.replaying = 0
        self.deadline = 0.0
        self.allowed_s = 0.0
        self.connection: Connection
        self.start()

    @property
    def folder(self) -> Path:
        return self._spec.home.parent

    def start(self, *, last_try: bool = False) -> None:
        """last_try: each request may take as long as a start, so that a slow node is not taken for a fatal deed."""
        config = self._spec.config
        if last_try:
            config = config.but(step_timeout_s=config.step_timeout_s + config.start_timeout_s)
        self._limits = config
        tmp = self.folder / "tmp"
        for folder in (self._spec.home, tmp):
            folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        log = (self.folder / "worker.log").open("ab")
        with theirs, log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "selu_hpc.envs.worker", str(theirs.fileno()), str(os.getpid())],
                env=variables_of(self._spec),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._reaper.watch(self._process.pid)
        self.connection = Connection(ours.detach())
        self.connection.send(replace(self._spec, config=config))
        self._started.clear()

    def send(self, request: Request) -> None:
        slot = request[0]
        self.allowed_s = self._limits.step_timeout_s
        if slot not in self._started:
            self.allowed_s += self._limits.start_timeout_s
            self._started.add(slot)
        self.deadline = time.monotonic() + self.allowed_s
        self.connection.send(request)

    def ask_to_close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.send((0, "close", ()))

    def end(self, *, grace_s: float) -> None:
        """Gone when this returns: the worker, its simulators, its folder."""
        process = self._process
        if process is None:
            return
        if grace_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _wait_for_group(process.pid)
        self.connection.close()
        self._reaper.forget(process.pid)
        self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self) -> str:
        """The end of the worker's log and of every simulator's."""
        home = self._spec.home
        found = [log for pattern in _LOGS for log in sorted(home.glob(pattern))]
        lines: list[str] = []
        for log in (self.folder / "worker.log", *found):
            with contextlib.suppress(OSError):
                lines += log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"    {line[:500]}" for line in lines)


class _Reaper:
    """The pool's end of the process that clears up when we can't."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("reaper.py")), str(os.getpid()), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        self._tell(f"group {group}")

    def forget(self, group: int) -> None:
        self._tell(f"forget {group}")

    def dismiss(self) -> None:
        self._tell("done 0")
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


def _wait_for_group(group: int) -> None:
    """Until the killed group's last process is dead; orphans are init's to reap, and some inits don't."""
    deadline = time.monotonic() + CLOSE_S
    while time.monotonic() < deadline and _alive(group):
        time.sleep(0.005)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state not in "ZX":
                return True
    return False
