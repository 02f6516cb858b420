"""The one way a stage starts, whoever starts it: a job, an sbatch template, the local engine or a person.

    python -m selu_hpc.stages.rollout --run RUN --round 1 --shard 3 [--attempt 0]

Owns arguments, the log of an attempt, the exit codes, progress, and what a warning (SIGUSR2 before a time limit,
SIGTERM on preemption) and Ctrl-C do to a stage that is a process of its own. Does not own what a stage does.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from selu_hpc.errors import EXIT_REQUEUE, RunFolderError, SeluError
from selu_hpc.logs import logged_to, set_up_logging
from selu_hpc.rounds.rundir import RunDir, ShardDir, Stage
from selu_hpc.terminal import EXIT_STOPPED, count, enter

logger = logging.getLogger(__name__)

EXIT_FAILED = 1
EXIT_USAGE = 2
"""What was asked for is not in the run's plan."""

LAST_S = 10.0
"""So long may a stage that was told to stop take to close its files; then it is ended as it is."""

ASKED_BY_PEFT = "`is_gradient_checkpointing` is deprecated"
"""What transformers 5 says of the old name that peft asks for whenever LoRA is laid on a model; nobody can mend it."""

MODULES = {
    Stage.TESTSET: "selu_hpc.stages.testset",
    Stage.ROLLOUT: "selu_hpc.stages.rollout",
    Stage.LABEL: "selu_hpc.stages.label",
    Stage.GATE: "selu_hpc.stages.gate",
    Stage.FINETUNE_ACTOR: "selu_hpc.stages.finetune",
    Stage.FINETUNE_CRITIC: "selu_hpc.stages.finetune",
    Stage.EVALUATE: "selu_hpc.stages.evaluate",
}


class RequeueRequested(SeluError):  # noqa: N818 - a request, not a fault
    """Raised by a stage that was told to stop and has saved its work."""

    exit_code = EXIT_REQUEUE


class Told(BaseException):
    """A signal asked this stage to stop, now. No `Exception`, so that nothing on its way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = _code_of(number)


def run_stage(stage: Stage, *, run: str, round_id: int, shard: int = 0, attempt: int | None = None) -> int:
    """Run one shard of one stage in this process; returns the exit code. Errors end up in the attempt's log."""
    place = RunDir(Path(run)).shard(round_id, stage, shard)
    attempt = place.begin_attempt() if attempt is None else attempt
    place.attempt(attempt).mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", ASKED_BY_PEFT, FutureWarning)
    with logged_to(place.log(attempt), f"r{round_id:02d}/{stage}/{shard}"):
        return _call(stage, place, attempt)


def _call(stage: Stage, place: ShardDir, attempt: int) -> int:
    arguments: dict[str, int | str] = {
        "run": str(place.run.path),
        "round_id": place.round_id,
        "shard": place.shard,
        "attempt": attempt,
    }
    if stage in (Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC):
        arguments["role"] = stage.value.removeprefix("finetune_")
    start = time.monotonic()
    try:
        _require_device(stage, place.run)
        importlib.import_module(MODULES[stage]).run(**arguments)
    except RequeueRequested as request:
        logger.info("%s", request)
        return EXIT_REQUEUE
    except Told as told:
        logger.info("stopped by %s: what is flushed stays, the next attempt goes on from there", told)
        return told.exit_code
    except SeluError as error:
        logger.error("%s: %s", type(error).__name__, error)
        return EXIT_FAILED
    except Exception:
        logger.exception("unexpected failure")
        return EXIT_FAILED
    logger.info("finished in %.1f s", time.monotonic() - start)
    return 0


def _require_device(stage: Stage, run: RunDir) -> None:
    """Looked at before anything is loaded, and without torch where nothing was given."""
    if stage in (Stage.TESTSET, Stage.GATE) or not os.environ.get("CUDA_VISIBLE_DEVICES"):
        return
    from selu_hpc.config import Backend
    from selu_hpc.recipes import load_run

    config, name = load_run(run.path), stage.partition("_")[0]
    draws = config.env.backend is Backend.CLOUD_RENDERING and name in ("rollout", "evaluate")
    # What it was given may be there to draw with alone: a server computes elsewhere, the built-in model is small.
    elsewhere = name != "finetune" and (config.model.server_url or (draws and config.model.base == "pocket"))
    if config.resources.of_stage(stage).gpus and not elsewhere:
        from selu_hpc.models.device import require_gpu

        require_gpu(name, draws=draws)


@dataclass(slots=True)
class Progress:
    """How far an attempt is, for progress bars and status; written at most twice a second."""

    file: Path
    total: int
    _last: float = field(default=0.0, repr=False)

    @classmethod
    def of(cls, place: ShardDir, attempt: int, total: int) -> Progress:
        return cls(place.progress(attempt), total)

    def update(self, done: int) -> None:
        now = time.monotonic()
        if done < self.total and now - self._last < 0.5:
            return
        self._last = now
        with suppress(OSError):
            partial = self.file.with_suffix(".partial")
            partial.write_text(json.dumps({"done": done, "total": self.total}))
            partial.replace(self.file)


def main(stages: Sequence[Stage], argv: Sequence[str] | None = None) -> NoReturn:
    """The command line of a stage module; `stages` are the ones it serves, the first is the default."""
    enter(lambda: _main(stages, argv))


def _main(stages: Sequence[Stage], argv: Sequence[str] | None) -> int:
    served = " or ".join(stages)
    module = MODULES[stages[0]]
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=f"Run one shard of the {served} stage of a run."
    )
    parser.add_argument("--run", required=True, help="the run folder")
    parser.add_argument("--round", type=int, required=True, dest="round_id", help="the round, 0 is the base model")
    parser.add_argument("--shard", type=int, default=_array_index(), help="the shard (default: the array task's index)")
    parser.add_argument("--attempt", type=count, default=None, help="attempt number (default: the next free one)")
    if len(stages) > 1:
        roles = [stage.value.removeprefix("finetune_") for stage in stages]
        parser.add_argument("--role", choices=roles, required=True, help="which adapter to train")
    options = parser.parse_args(argv)
    set_up_logging()
    stage = Stage(f"finetune_{options.role}") if len(stages) > 1 else stages[0]
    try:
        require_planned(RunDir(Path(options.run)).shard(options.round_id, stage, options.shard))
    except SeluError as error:
        logger.error("%s", error)
        return EXIT_USAGE
    code: int | None = None
    try:
        with told_by_signals():
            code = run_stage(
                stage, run=options.run, round_id=options.round_id, shard=options.shard, attempt=options.attempt
            )
    except Told as told:
        return told.exit_code if code is None else code
    return code


def require_planned(place: ShardDir) -> None:
    """Refuse what the run's plan does not have, before a folder is made for it; the message lists what it has."""
    from selu_hpc.recipes import load_run
    from selu_hpc.rounds.plan import make_plan

    place.run.require()
    rounds = {one.key.round_id: one for one in make_plan(load_run(place.run.path)) if one.key.stage is place.stage}
    if place.round_id not in rounds:
        there = f"in rounds {min(rounds)} to {max(rounds)}" if rounds else "in no round"
        raise RunFolderError(f"{place.run.path}: no {place.stage} in round {place.round_id}; its plan has it {there}")
    last = rounds[place.round_id].num_shards - 1
    if not 0 <= place.shard <= last:
        raise RunFolderError(
            f"{place.run.path}: no shard {place.shard} of {rounds[place.round_id].key}; its plan has 0 to {last}"
        )


@contextmanager
def told_by_signals() -> Iterator[None]:
    """SIGUSR2, SIGTERM or Ctrl-C ends the block with `Told`, once; a stage that saves by itself listens for itself
    meanwhile, but to Ctrl-C.

    What a stage acknowledged is durable, so it may be stopped anywhere; left to Python, the signal would kill it and
    count as a failure.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # what a shell starts in the background
    numbers = (signal.SIGUSR2, signal.SIGTERM, *(() if ignored else (signal.SIGINT,)))

    def tell(number: int, _: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        last = threading.Timer(LAST_S, os._exit, [_code_of(number)])
        last.daemon = True
        last.start()
        raise Told(number)

    for number in numbers:
        signal.signal(number, tell)
    yield
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _code_of(number: int) -> int:
    """Slurm's words ask for another start; a person's Ctrl-C does not."""
    return EXIT_STOPPED if number == signal.SIGINT else EXIT_REQUEUE


def _array_index() -> int:
    return int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
