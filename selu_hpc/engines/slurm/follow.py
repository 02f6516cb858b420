"""Follows a run that is in Slurm's hands: `submit --wait` on a login node, with progress bars.

Watches only; what is submitted is decided in reconcile.py, and the jobs go on whether or not anybody watches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from selu_hpc.engines.base import Job
from selu_hpc.engines.frontier import Frontier, State
from selu_hpc.engines.progress import ProgressView
from selu_hpc.engines.slurm.ledger import Ledger, match
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import StageFailedError
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import ShardDir

POLL_S = 5.0


@dataclass(frozen=True, slots=True)
class OnNode:
    """A shard that runs now, as the progress bars want it."""

    key: Key
    place: ShardDir
    attempt: int


@dataclass(slots=True)
class Follow:
    """Watches markers and the queue until nothing is due or nothing is on its way."""

    job: Job
    slurm: Slurm
    poll_s: float = POLL_S

    def until_the_end(self) -> None:
        frontier = Frontier.of(self.job.plan, self.job.due())
        quiet = 0
        with ProgressView(self.job, frontier) as view:
            while due := self.job.due():
                running, alive = self._look(frontier)
                self._mark(frontier, due, running)
                view.update(running)
                quiet = 0 if alive else quiet + 1
                if quiet > 2:
                    raise StageFailedError(self._why_it_stopped(due))
                time.sleep(self.poll_s)
            self._mark(frontier, {}, [])

    def _look(self, frontier: Frontier) -> tuple[list[OnNode], bool]:
        ledger = Ledger.read(self.job.journal)
        queue = match(ledger, self.slurm.squeue(ledger.entries))
        running = []
        for live in queue.live.values():
            for shard in live.running:
                key = live.entry.key
                if key and (key, shard) in frontier.states:  # another may end of a stage that the plan has no more
                    place = self.job.run.shard(key.round_id, key.stage, shard)
                    running.append(OnNode(key, place, max(place.attempts, default=0)))
        return running, any(live.alive for live in queue.live.values())

    def _mark(self, frontier: Frontier, due: dict[Key, list[int]], running: list[OnNode]) -> None:
        at_work = {(one.key, one.place.shard) for one in running}
        still = {key: set(shards) for key, shards in due.items()}
        for key, shard in frontier.states:
            done = shard not in still.get(key, ())
            frontier.states[key, shard] = (
                State.DONE if done else State.RUNNING if (key, shard) in at_work else State.WAITING
            )

    def _why_it_stopped(self, due: dict[Key, list[int]]) -> str:
        gave_up = Ledger.read(self.job.journal).gave_up
        reasons = [f"{key} shard {shard}: {why}" for (key, shard), why in gave_up.items()]
        first = min(due, key=lambda key: key.round_id)
        log = self.job.run.shard(first.round_id, first.stage, due[first][0]).path
        return (
            f"{self.job.run.path}: no job of this run is in the queue any more, {sum(map(len, due.values()))} shards "
            f"are missing, the first is {first} shard {due[first][0]}:\n" + "\n".join(reasons or ["no reason recorded"])
            + f"\nread the newest attempt-*/log.txt in {log}, mend the cause, "
            f"then run `{self.job.run.command('submit')}` to go on"
        )  # fmt: skip
