"""Start or continue a run: `python -m selu_hpc.submit --rounds 5`.

The same command twice goes on where the first ended. On a login node with Slurm it returns with the job ids;
elsewhere it runs everything on this machine and returns at the end.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from selu_hpc.engines.slurm.calls import SHOW_CONFIG, Calls, submit_limits, user_name
from selu_hpc.rounds.copying import copy_call
from selu_hpc.terminal import enter, hours, positive, width_of

logger = logging.getLogger(__name__)

SBATCH_AHEAD = 4
"""A new run's first jobs find theirs started; while those are sent the next are. More made no difference: submit stands
still while it starts one, and those that get ready beside the imports take the cores from them."""

# Everything else is imported where it is used: Slurm is asked first and answers while the rest is loaded, which takes
# longer than all the rest of a submission.
if TYPE_CHECKING:
    from selu_hpc.config import RunConfig
    from selu_hpc.containers.pinned import Pinned
    from selu_hpc.engines.base import Engine, Job
    from selu_hpc.rounds.plan import Plan
    from selu_hpc.rounds.rundir import RunDir
    from selu_hpc.site import Site


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.submit",
        description="Send out a self-learning run: rollouts, labels, gates, fine-tuning and evaluation, round after "
        "round. Running the same command again continues the run from its last finished work.",
        epilog="example: python -m selu_hpc.submit --rounds 5 --set env.simulator=virtualhome --seed 1",
    )
    what = parser.add_argument_group("what to run")
    what.add_argument("--recipe", help="a recipe in configs/ or a YAML file (default: selu)")
    what.add_argument("--rounds", type=int, help="self-learning rounds; raise it later to continue a run")
    what.add_argument("--seed", type=int, help="the run's seed")
    what.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override one setting; repeatable")
    what.add_argument("--run", type=Path, help="the run folder (default: runs/RECIPE-SIMULATOR-sSEED-SIGNATURE)")
    where = parser.add_argument_group("where to run it")
    where.add_argument(
        "--engine", choices=["auto", "slurm", "local"], default="auto", help="default: slurm where there is an sbatch"
    )
    where.add_argument("--site", help="site profile in configs/sites/ or a YAML file")
    where.add_argument("--workers", type=positive, help="shards at once on this machine (default: its cores)")
    where.add_argument(
        "--accept-code", action="store_true", help="go on with this checkout though the run began with another (slurm)"
    )
    where.add_argument("--prepare", action="store_true", help="make the run folder only, for the templates in slurm/")
    where.add_argument("--wait", action="store_true", help="follow a Slurm run until its end")
    where.add_argument("--accept-image", action="store_true", help="go on with another image than the run began with")
    where.add_argument(
        "--working-copy",
        type=Path,
        metavar="DIR",
        help="run this checkout's code inside the image; marks the run dirty",
    )
    look = parser.add_argument_group("look before you leap")
    look.add_argument("--dry-run", action="store_true", help="print the plan with its worst case, start nothing")
    look.add_argument("--print-config", action="store_true", help="print the resolved config and exit")
    look.add_argument("--budget-gpu-hours", type=hours, help="refuse a plan whose worst case is above this")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    gc.disable()  # what is imported from here on stays until the end: looking through it again and again finds nothing
    calls = ask_ahead(options)
    from selu_hpc.errors import SeluError
    from selu_hpc.logs import set_up_logging

    set_up_logging()
    try:
        return submit(options, calls)
    except SeluError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    finally:
        calls.forget()
        gc.freeze()
        gc.enable()


def ask_ahead(options: argparse.Namespace) -> Calls:
    """Begin what will be asked of Slurm anyway, unless nothing will be; a new run's code is read meanwhile, too."""
    calls = Calls()
    nothing = options.engine == "local" or options.dry_run or options.print_config or options.prepare
    if not nothing and calls.has("sbatch"):
        calls.ahead(*submit_limits(user_name()))
        calls.ahead(*SHOW_CONFIG)
        if not (options.run and (options.run / "journal.jsonl").exists()):
            calls.ahead(*copy_call(str(Path(__file__).resolve().parents[1])))
    return calls


def submit(options: argparse.Namespace, calls: Calls) -> int:
    from selu_hpc.engines.base import Job
    from selu_hpc.recipes import load_site, to_yaml
    from selu_hpc.rounds.plan import make_plan
    from selu_hpc.rounds.provenance import config_in, default_folder, make_run
    from selu_hpc.rounds.rundir import RunDir

    config = resolve_config(options)
    run = RunDir((options.run or default_folder(config)).absolute())
    if options.run or not options.print_config:
        config = config_in(run, config)
        refuse_nested(run)
        tell_rounds(options.rounds, config)
    if options.print_config:
        fresh = f"# {run.path} holds no run yet\n" if options.run and not run.config_file.exists() else ""
        sys.stdout.write(f"{fresh}# signature {config.signature}\n{to_yaml(config)}")
        return 0
    site = None if options.site is None else load_site(options.site)
    plan = make_plan(config)
    if site and options.engine != "local":
        from selu_hpc.engines.slurm.sbatch import check_site, require_served

        require_served(plan, check_site(site))
    if options.dry_run:
        print_plan(plan, run)
    check_budget(plan, options.budget_gpu_hours)
    if options.dry_run:
        return 0
    if options.prepare:
        return prepare(Job(run, config, plan, choose_image(options, site, run, config)))
    if options.engine != "local":
        start_sbatch(run, plan, calls)
    engine = choose_engine(options, site, calls)
    image = choose_image(options, site, run, config)
    if engine.name == "local" and image is None and not run.config_file.exists():
        from selu_hpc.engines.checks.named import require_named

        require_named(config)
    make_run(run, config)
    return carry_on(Job(run, config, plan, image), engine, wait=options.wait)


def refuse_nested(run: RunDir) -> None:
    """A new run below another would be bundled, moved and removed with it."""
    from selu_hpc.errors import RunFolderError
    from selu_hpc.rounds.rundir import RunDir

    above = () if run.config_file.exists() else run.path.parents
    for other in map(RunDir, above):
        if other.config_file.exists() and other.provenance_file.exists():
            raise RunFolderError(f"{run.path}: lies in another run, {other.path}; choose a folder outside with --run")


def prepare(job: Job) -> int:
    """The folder as the stages want it, image and all, with nothing started: for the templates in slurm/."""
    from selu_hpc.rounds.lock import hold_run
    from selu_hpc.rounds.provenance import make_run

    make_run(job.run, job.config)
    with hold_run(job.run, purpose="a submit"):
        job.settle()
    sys.stdout.write(f"{job.run.path}\n")
    return 0


def tell_rounds(asked: int | None, config: RunConfig) -> None:
    if asked is not None and asked < config.rounds:
        logger.warning("the run has %s rounds; rounds can only be raised", config.rounds)


def start_sbatch(run: RunDir, plan: Plan, calls: Calls) -> None:
    """For a new run, start what its jobs will be handed over by: it is ready when all is imported and decided."""
    from selu_hpc.engines.slurm.sbatch import held
    from selu_hpc.engines.slurm.scheduler import sbatch_call

    if not run.journal_file.exists():
        calls.ahead(*sbatch_call(held(run.jobs)), count=min(len(plan.stages) + 1, SBATCH_AHEAD))


def carry_on(job: Job, engine: Engine, *, wait: bool) -> int:
    logger.info("run folder: %s", job.run.path)
    gc.freeze()
    gc.enable()
    engine.run(job, wait=wait)
    if not job.due():
        finish(job.run)
    return 0


def resolve_config(options: argparse.Namespace) -> RunConfig:
    """The recipe with flags; an existing run folder without --recipe keeps its own config."""
    from selu_hpc.recipes import load_recipe
    from selu_hpc.rounds.rundir import RunDir

    flags = {name: getattr(options, name) for name in ("rounds", "seed") if getattr(options, name) is not None}
    if options.run and options.recipe is None and RunDir(options.run).config_file.is_file():
        return load_recipe(str(RunDir(options.run).config_file), options.set, flags)
    return load_recipe("selu" if options.recipe is None else options.recipe, options.set, flags)


def choose_engine(options: argparse.Namespace, site: Site | None, calls: Calls) -> Engine:
    """Slurm where it answers, this machine's cores where there is none; says which and why.

    A Slurm that is silent now is no reason to do the work of a cluster on its login node.
    """
    from selu_hpc.engines.slurm.scheduler import Slurm
    from selu_hpc.errors import EngineError

    if options.engine == "local":
        found, why = False, "--engine local"
    else:
        slurm = Slurm(calls=calls)
        found, why = slurm.answers()
    if found:
        from selu_hpc.engines.slurm.engine import SlurmEngine

        slurm.require_here()
        logger.info("engine: slurm (%s)", why)
        if options.workers:
            logger.warning("--workers %s is for --engine local; a site's array_throttle bounds arrays", options.workers)
        return SlurmEngine(site=site, accept_code=options.accept_code, slurm=slurm)
    if options.engine != "local" and (options.engine == "slurm" or site or calls.has("sbatch")):
        do = "try again when it does" if calls.has("sbatch") else "run this on a login node"
        raise EngineError(f"{why}; {do}, or use --engine local to run everything on this machine")
    from selu_hpc.engines.local.engine import LocalEngine

    calls.forget()
    logger.info("engine: local (%s)", why)
    if site:
        logger.warning("--site %s: on this machine only what it says of images is used", options.site)
    return LocalEngine(workers=options.workers)


def choose_image(options: argparse.Namespace, site: Site | None, run: RunDir, config: RunConfig) -> Pinned | None:
    """The image the stages run in, looked over before anything is written; nothing is loaded where there is none."""
    if config.image == "none" and not (options.working_copy or run.image_file.exists()):
        return None
    from selu_hpc.containers.pinned import choose

    return choose(
        run,
        config,
        site,
        accept=options.accept_image,
        working_copy=options.working_copy.absolute() if options.working_copy else None,
    )


def check_budget(plan: Plan, budget_gpu_hours: float | None) -> None:
    from selu_hpc.errors import BudgetError

    if budget_gpu_hours is not None and plan.worst_gpu_hours > budget_gpu_hours:
        raise BudgetError(
            f"the plan's worst case is {plan.worst_gpu_hours:.1f} GPU-hours, the budget {budget_gpu_hours:.1f}; "
            "lower rounds, shards, resources.*.timeout_min or retry.max_retries, or raise --budget-gpu-hours"
        )


def print_plan(plan: Plan, run: RunDir) -> None:
    from selu_hpc.engines.table import Column, text_table

    columns = [Column("stage"), *(Column(name, right=True) for name in
               ("tasks", "done", "ranks", "cpus", "gpus", "GB", "limit, min")), Column("after")]  # fmt: skip
    rows = []
    for stage in plan:
        ask, key = stage.resources, stage.key
        done = stage.num_shards - len(run.unfinished(key.round_id, key.stage, stage.num_shards))
        numbers = (stage.num_shards, done, stage.num_ranks, ask.cpus, ask.gpus, ask.mem_gb, ask.timeout_min)
        rows.append([str(key), *(str(number) for number in numbers), ", ".join(str(need) for need in stage.needs)])
    title, width = f"plan of {run.path}", width_of(sys.stdout)
    sys.stdout.write(text_table(columns, rows, title=title, caption=_worst_case(plan), width=width))


def _worst_case(plan: Plan) -> str:
    return (
        f"{len(plan.stages)} arrays, {plan.num_tasks} tasks; worst case with {plan.max_attempts - 1} retries each, "
        f"their time limits doubled: {plan.worst_core_hours:.1f} core-hours, {plan.worst_gpu_hours:.1f} GPU-hours; "
        "what preemption sends back comes on top"
    )


def finish(run: RunDir) -> None:
    """All markers are there: write the report and say where it lies."""
    from selu_hpc.report import write_report

    sys.stdout.write(f"report: {write_report(run)}\n")


if __name__ == "__main__":
    enter(main)
