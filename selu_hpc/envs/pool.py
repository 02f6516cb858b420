"""Many environments at once, in processes that may die: start, step, watch, replay, and leave nothing behind.

    with EnvironmentPool(config, num_slots=16) as pool:
        seen = pool.reset_many({slot: (task, seed) for slot, (task, seed) in enumerate(work)})
        results = pool.step({slot: "move ahead" for slot in seen})

Every slot is an environment with a simulator process of its own; slots are dealt to `num_processes` worker processes
that step side by side. A worker that fails (its simulator aborted, was killed, hung, or never came up) is killed with
its whole process group, started again, and its slots' episodes are replayed to where they were. The last try is given
the time of a start, so that what is merely slow gets there. The tries are those of the slot whose simulator failed,
whoever's turn it was. A step that no try survives is lost: it is answered as one that failed, and the episode goes on
without it. A task that no trial survives is impossible.
Does not own a worker's process (worker_process.py), what it does inside (worker.py) or clearing up after our own death
(reaper.py).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from selu_hpc.config import EnvConfig
from selu_hpc.envs.base import NoSuchSceneError, Observation, StepResult
from selu_hpc.envs.gpu import why_vulkan_devices_are_idle
from selu_hpc.envs.worker import Spec
from selu_hpc.envs.worker_process import CLOSE_S, Reaper, Request, WorkerProcess
from selu_hpc.errors import SimulatorError
from selu_hpc.records import Task, Truth

logger = logging.getLogger(__name__)

FACTORY = "selu_hpc.envs.make:make_environment"


class EnvironmentPool:
    """Environments in numbered slots. Not safe to use from two threads at once.

    workers: a slot's is the one whose place is the slot's number modulo their count.
    """

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
        idle = why_vulkan_devices_are_idle(config)
        if idle:
            logger.warning("%s", idle)
        self._root = Path(tempfile.mkdtemp(prefix="selu-envs-"))
        self._reaper = Reaper(self._root)
        self.workers = [
            WorkerProcess(Spec(config, self._root / f"worker-{n}" / "home", factory, tuple(executable)), self._reaper)
            for n in range(min(num_processes, self.num_slots))
        ]
        self._episodes: dict[int, list[Request]] = {}
        self._failures: dict[int, int] = {}
        self._closed = False

    @property
    def num_restarts(self) -> int:
        """Worker processes that were started again so far."""
        return sum(worker.num_restarts for worker in self.workers)

    @property
    def process_ids(self) -> list[int]:
        """The workers' processes and, last, the one that clears up; each leads a group of its own."""
        return [*(worker.process_id for worker in self.workers), self._reaper.process_id]

    @property
    def closed(self) -> bool:
        """True after `close`, and after an error that a request ended with."""
        return self._closed

    def reset(self, slot: int, task: Task, seed: int) -> Observation:
        return self.reset_many({slot: (task, seed)})[slot]

    def reset_many(self, episodes: Mapping[int, tuple[Task, int]]) -> dict[int, Observation]:
        """Begin an episode in each of these slots, side by side."""
        return self._run([Request(slot, "reset", arguments) for slot, arguments in episodes.items()])

    def step(self, texts: Mapping[int, str]) -> dict[int, StepResult]:
        """One step in each of these slots, side by side."""
        return self._run([Request(slot, "step", (text,)) for slot, text in texts.items()])

    def truth(self, slot: int, episode_id: str) -> Truth:
        found: dict[int, Truth] = self._run([Request(slot, "truth", (episode_id,))])
        return found[slot]

    def survey(self, what: str, *arguments: Any) -> Any:
        """Ask slot 0's simulator what a scene makes feasible (`survey.Survey`); ends the slot's episode."""
        return self._run([Request(0, "survey", (what, *arguments))])[0]

    def close(self) -> None:
        """Stop every simulator and remove every folder; again is harmless."""
        if self._closed:
            return
        self._closed = True
        for worker in self.workers:
            worker.ask_to_close()
        for worker in self.workers:
            worker.end(grace_s=CLOSE_S)
        shutil.rmtree(self._root, ignore_errors=True)
        self._reaper.dismiss()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _worker_of(self, slot: int) -> WorkerProcess:
        if not 0 <= slot < self.num_slots:
            raise IndexError(f"slot {slot}: the pool has slots 0 to {self.num_slots - 1}")
        return self.workers[slot % len(self.workers)]

    def _slots_of(self, worker: WorkerProcess) -> list[int]:
        return [slot for slot in range(self.num_slots) if self._worker_of(slot) is worker]

    def _run(self, requests: Sequence[Request]) -> dict[int, Any]:
        """Deal the requests to their workers and gather the answers; a failed worker is brought back and goes on."""
        if self._closed:
            raise SimulatorError("the pool of environments is closed")
        queues: dict[WorkerProcess, list[Request]] = {}
        for request in requests:
            queues.setdefault(self._worker_of(request.slot), []).append(request)
        try:
            return self._gather(queues)
        except BaseException:
            self.close()
            raise

    def _gather(self, queues: dict[WorkerProcess, list[Request]]) -> dict[int, Any]:
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
                    self._bring_back(worker, worker.queue[0].slot, f"no answer within {worker.allowed_s:g} s", answers)
                if not worker.queue:
                    busy.discard(worker)
        return answers

    def _take(self, worker: WorkerProcess, answers: dict[int, Any]) -> None:
        try:
            outcome, value = worker.connection.recv()
        except (EOFError, OSError):
            died = worker.died()
            slot = worker.queue[0].slot if died is None else died
            self._bring_back(worker, slot, "the worker process ended", answers)
            return
        if outcome == "ok":
            request = worker.queue.pop(0)
            if worker.replaying:
                worker.replaying -= 1
            else:
                self._remember(request)
                if request.what in ("reset", "survey"):
                    self._failures.pop(request.slot, None)
                answers[request.slot] = value
            self._advance(worker)
        elif outcome == "no scene":
            raise NoSuchSceneError(value)
        elif outcome == "hopeless":
            raise SimulatorError(f"the {self._config.simulator} simulator can't be started: {value}")
        else:
            self._bring_back(worker, worker.queue[0].slot, value, answers)

    def _advance(self, worker: WorkerProcess) -> None:
        if worker.queue:
            try:
                worker.send(worker.queue[0])
            except OSError:
                # It died between two requests: the answer's place reads as the end of the connection.
                worker.deadline = time.monotonic() + CLOSE_S

    def _bring_back(self, worker: WorkerProcess, slot: int, why: str, answers: Mapping[int, Any]) -> None:
        """Kill, start again, and put the episodes so far before what is still to be done.

        slot: whose simulator failed; it may have been another's turn. answers: of the requests under way.
        """
        told = worker.last_words()
        worker.end(grace_s=0.0)
        worker.num_restarts += 1
        todo, something_is_lost = self._still_to_do(worker, slot, why, told, answers)
        slots = self._slots_of(worker)
        logger.warning(
            "slots %s, by slot %d: %s; starting the simulator again and replaying\n%s", _listed(slots), slot, why, told
        )
        # What one last try got through, another slot's failure must not put before an ordinary one.
        worker.start(last_try=something_is_lost or any(map(self._has_no_more, slots)))
        self._replay(worker, slots, todo)

    def _still_to_do(
        self, worker: WorkerProcess, slot: int, why: str, told: str, answers: Mapping[int, Any]
    ) -> tuple[list[Request], bool]:
        """What was not answered yet, and whether what failed is lost and something else asked in its place."""
        todo, asked = worker.queue[worker.replaying :], worker.queue[0]
        if asked.slot != slot and not self._is_replayed(slot, todo):
            return todo, False  # it has nothing to fail at again
        # In another's turn it is what it did last that a simulator does not survive.
        failed = asked if asked.slot == slot else self._episodes[slot][-1]
        answered = bool(worker.replaying) or asked.slot != slot
        taken_back = answered and slot in answers and failed is self._episodes[slot][-1]
        num_failures = self._failures[slot] = self._failures.get(slot, 0) + 1
        spent = num_failures > self._config.max_restarts
        instead = self._instead(failed, spent=spent) if taken_back or not answered else None
        if instead is not None:
            logger.warning("slot %d's %s is lost: %s", slot, self._told(failed), why)
            del self._failures[slot]
            if taken_back:
                self._episodes[slot].pop()
            return [instead, *(todo if taken_back else todo[1:])], True
        if spent:
            where = _listed(self._slots_of(worker))
            raise SimulatorError(
                f"the {self._config.simulator} process of slots {where} failed {num_failures} times in slot "
                f"{slot}'s {self._told(failed)}, more than env.max_restarts "
                f"{self._config.max_restarts} allows; the last time: {why}; its last lines:\n{told}"
            )
        return todo, False

    def _replay(self, worker: WorkerProcess, slots: Sequence[int], todo: Sequence[Request]) -> None:
        fresh = {request.slot for request in todo if request.what == "reset"}
        past = [request for slot in slots if slot not in fresh for request in self._episodes.get(slot, ())]
        worker.replaying = len(past)
        worker.queue = [*past, *todo]
        self._advance(worker)

    def _instead(self, failed: Request, *, spent: bool) -> Request | None:
        """What to ask in place of what failed: of a deed or a trial that no try survives the answer is no."""
        if failed.what == "step" and failed.slot in self._episodes and (spent or self._has_lost(failed.slot)):
            return failed._replace(what="lose")
        if failed.what == "survey" and failed.arguments[0] == "possible" and spent:
            return failed._replace(arguments=("give_up", *failed.arguments[1:]))
        return None

    def _is_replayed(self, slot: int, todo: Sequence[Request]) -> bool:
        """Whether the slot has an episode that goes on."""
        return slot in self._episodes and (slot, "reset") not in [(request.slot, request.what) for request in todo]

    def _has_no_more(self, slot: int) -> bool:
        """Whether the next failure of the slot is its last."""
        return self._failures.get(slot, 0) >= self._config.max_restarts or self._has_lost(slot)

    def _has_lost(self, slot: int) -> bool:
        """Whether the tries of the slot's episode were spent on an earlier step; the next has but one."""
        return any(request.what == "lose" for request in self._episodes.get(slot, ()))

    def _told(self, request: Request) -> str:
        """Which task or scene it was and what was asked, as far as it is known."""
        slot, what, arguments = request
        if what == "survey":
            asked, about, *rest = arguments
            named = f"{about.instruction!r} in {about.scene}" if isinstance(about, Task) else about
            return f"survey ({named}) at {' '.join((asked, *rest))}"
        begun = request if what == "reset" else self._episodes.get(slot, [request])[0]
        task = f" ({begun.arguments[0].instruction!r} in {begun.arguments[0].scene})" if begun.what == "reset" else ""
        asked = f"{what} {arguments[0]!r}"[:120] if what in ("step", "lose") else what
        return f"episode{task} at {asked}"

    def _remember(self, request: Request) -> None:
        """What was answered is what a replay must do again."""
        if request.what == "reset":
            self._episodes[request.slot] = [request]
        elif request.what in ("step", "lose"):
            self._episodes[request.slot].append(request)


def _listed(slots: Sequence[int]) -> str:
    return ", ".join(map(str, slots))
