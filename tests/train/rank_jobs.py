"""One rank that trains several jobs one after the other: imports are paid once. Started by train.spawn.

python rank_jobs.py JOBS.json     [{"run": …, "kill": [rank, step], "stop": step}, …]
"""

import json
import os
import signal
import sys
from pathlib import Path

from make_run import Trainer

from selu_hpc.logs import set_up_logging
from selu_hpc.recipes import load_run
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.train.sft import Stopped
from selu_hpc.train.stop import StopWish

RANK = int(os.environ["RANK"])


def main(file: str) -> None:
    for job in json.loads(Path(file).read_text()):
        run = RunDir(Path(job["run"]))
        wish = StopWish()
        loader_steps(job, wish)
        try:
            result = Trainer(run, load_run(run.path))(wish=wish)
            if RANK == 0:
                (run.path / "result.json").write_text(json.dumps({"content": result.content, **result.summary}))
        except Stopped as stopped:
            (run.path / f"stopped-{RANK}").write_text(str(stopped))


def loader_steps(job, wish) -> None:
    """Let something befall this rank after a step: every rank's loop passes by here, not only rank 0's callback."""
    from selu_hpc.train import sft

    original = vars(sft).setdefault("_original_step", sft._step)

    def step(run, step, batches, wish_):
        original(run, step, batches, wish_)
        if job.get("kill") == [RANK, step.number]:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.get("stop") == [RANK, step.number]:
            wish.signal_name = "SIGUSR2"

    sft._step = step


if __name__ == "__main__":
    set_up_logging()
    main(sys.argv[1])
