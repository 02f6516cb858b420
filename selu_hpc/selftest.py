"""Does everything work here? `python -m selu_hpc.selftest` runs one tiny round of the built-in default, for real.

One episode in the stand-in simulator through the official client, one label, a gate, LoRA steps under DeepSpeed and
an evaluation. It is the image's own test, and a quick check of an installation.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from selu_hpc.engines.base import Job
from selu_hpc.engines.local.engine import Interrupted, LocalEngine
from selu_hpc.errors import SeluError
from selu_hpc.logs import set_up_logging
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.provenance import open_run
from selu_hpc.terminal import enter

TINY = (
    "rounds=1",
    "rollout.num_shards=1",
    "rollout.episodes_per_shard=1",
    "evaluate.num_shards=1",
    "evaluate.critic_episodes=2",
    "evaluate.actor_episodes=1",
    "evaluate.bootstrap_samples=10",
    "evaluate.probe_questions=4",
    "env.horizon=3",
    "env.num_processes=1",
    "finetune.global_batch=4",
    "finetune.micro_batch=4",
    "critic.mode=none",
    "retry.max_retries=0",
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m selu_hpc.selftest", description="Run one tiny round for real.")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override one setting; repeatable")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    set_up_logging()
    folder = ""
    try:
        config = load_recipe("selu", [*TINY, *options.set])
        folder = tempfile.mkdtemp(prefix="selu-selftest-")
        run, config = open_run(Path(folder) / "run", config)
        LocalEngine().run(Job(run, config, make_plan(config)))
    except Interrupted:
        shutil.rmtree(folder, ignore_errors=True)
        raise KeyboardInterrupt from None  # "stopped": a selftest does not go on, it begins anew
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")  # the run stays, since its logs say more
        return error.exit_code
    shutil.rmtree(folder)
    sys.stdout.write("selftest passed: rollout, label, gate, LoRA steps and evaluation ran\n")
    return 0


if __name__ == "__main__":
    enter(main)
