"""One rank that trains several jobs one after the other: imports are paid once. Started by train.spawn.

python rank_jobs.py JOBS.json     [{"run": …, "kill": [rank, step], "stop": [rank, step]}, …]
"""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from make_run import Trainer

from selu_hpc.logs import set_up_logging
from selu_hpc.recipes import load_run
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.train.sft import Stopped
from selu_hpc.train.stop import StopWish

RANK = int(os.environ["RANK"])


@dataclass(slots=True)
class Befallen(StopWish):
    """A wish that lets something befall this rank after a step: training asks it once a step, on every rank.

    `on_step` would not do, for only the rank that leads calls it. The first step is asked about before it is done, so
    what comes after step 3 comes when the fourth asks.
    """

    kill_after: int = 0
    stop_after: int = 0
    num_asked: int = 0

    def __bool__(self) -> bool:
        self.num_asked += 1
        done = self.num_asked - 1
        if done and done == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if done and done == self.stop_after:
            self.signal_name = "SIGUSR2"
        return bool(self.signal_name)


def main(file: str) -> None:
    for job in json.loads(Path(file).read_text()):
        run = RunDir(Path(job["run"]))
        wish = Befallen(kill_after=on_this_rank(job.get("kill")), stop_after=on_this_rank(job.get("stop")))
        try:
            result = Trainer(run, load_run(run.path))(wish=wish)
            if RANK == 0:
                (run.path / "result.json").write_text(json.dumps({"content": result.content, **result.summary}))
        except Stopped as stopped:
            (run.path / f"stopped-{RANK}").write_text(str(stopped))


def on_this_rank(befalls: list[int] | None) -> int:
    """The step of `[rank, step]` where it is this rank's; else 0, which is none."""
    rank, step = befalls or (RANK, 0)
    return step if rank == RANK else 0


if __name__ == "__main__":
    set_up_logging()
    main(sys.argv[1])
