"""Would a submission work here? `python -m selu_hpc.doctor` asks, answers and says what to mend.

Exit code 0 when it would, 1 when not. `--write-site FILE` writes a site profile from what Slurm says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from selu_hpc.config import RunConfig
from selu_hpc.engines.checks.finding import Finding, Grade, bad
from selu_hpc.engines.checks.folder import check_folder
from selu_hpc.engines.checks.image import check_apptainer, check_image
from selu_hpc.engines.checks.named import check_named
from selu_hpc.engines.checks.nodes import check_nodes
from selu_hpc.engines.checks.slurm import (
    check_accounting,
    check_controller,
    check_limits,
    check_munge,
    check_partitions,
    check_requests,
)
from selu_hpc.engines.overview import counted
from selu_hpc.engines.slurm.discover import discover_site
from selu_hpc.engines.slurm.sbatch import check_site
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import ConfigError, EngineError, SeluError
from selu_hpc.logs import set_up_logging
from selu_hpc.recipes import load_recipe, load_site, to_yaml
from selu_hpc.rounds.rundir import write_bytes
from selu_hpc.site import Site
from selu_hpc.terminal import enter, seconds
from selu_hpc.viz.plain import plain

NARROW = 70
"""Columns below which a table's would be a few letters each."""
COLOURS = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.PROBLEM: "red"}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.doctor",
        description="Check what a run needs of this cluster; every bad answer comes with what to do.",
        epilog="example: python -m selu_hpc.doctor --write-site configs/sites/mylab.yaml",
    )
    parser.add_argument("--site", help="site profile in configs/sites/ or a YAML file (default: what Slurm says)")
    parser.add_argument("--recipe", default="selu", help="the recipe whose resources are checked (default: selu)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override one setting; repeatable")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where runs will lie (default: ./runs)")
    parser.add_argument("--write-site", type=Path, metavar="FILE", help="write a site profile and exit")
    parser.add_argument("--no-jobs", action="store_true", help="do not start test jobs on nodes")
    parser.add_argument("--patience", type=seconds, default=120.0, help="seconds a test job may take to start")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    set_up_logging("WARNING")
    try:
        if options.write_site:
            return write_site(options.write_site, Slurm(patience_s=20.0))
        findings = list(diagnose(options))
    except SeluError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    if options.json:
        sys.stdout.write(json.dumps([asdict(one) for one in findings], indent=1) + "\n")
    else:
        show(findings)
    return 1 if any(one.grade is Grade.PROBLEM for one in findings) else 0


def write_site(file: Path, slurm: Slurm) -> int:
    """A profile with everything Slurm tells; what it can't tell is left at its default and named."""
    if file.exists():
        raise ConfigError(f"{file}: is there already, and what was edited in it would be lost; give another name")
    answers, why_not = slurm.answers()
    if not answers:
        raise EngineError(
            f"{why_not}, and a profile is what Slurm says; see what `scontrol ping` says, on a login node"
        )
    site = check_site(discover_site(slurm))
    head = (
        "# Made by `python -m selu_hpc.doctor --write-site` from sinfo, scontrol and sacctmgr. Look it over: modules,\n"
        "# scratch, mounts, image keys and constraints are things Slurm does not know.\n"
    )
    try:
        write_bytes(file, (head + to_yaml(site)).encode())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; give another place") from error
    sys.stdout.write(f"{file}: cluster {site.name}, partitions "
                     f"{', '.join(f'{role}={one.name}' for role, one in site.partitions.items())}\n")  # fmt: skip
    return 0


def diagnose(options: argparse.Namespace) -> Iterator[Finding]:
    """All findings, cheapest first; what can't be asked without Slurm is left out when Slurm is away."""
    config = load_recipe(options.recipe, options.set)
    site = check_site(load_site(options.site)) if options.site else None
    slurm = Slurm(patience_s=20.0)
    with _tried(options.folder.absolute()) as folder:
        yield from _diagnose(options, config, site, slurm, folder)


@contextmanager
def _tried(folder: Path) -> Iterator[Path]:
    """A folder that may be made to try things in; what was not there before is gone afterwards."""
    absent = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        yield folder
    finally:
        for one in absent:
            with suppress(OSError):
                one.rmdir()


def _diagnose(
    options: argparse.Namespace, config: RunConfig, site: Site | None, slurm: Slurm, folder: Path
) -> Iterator[Finding]:
    yield from check_folder(folder)
    controller = check_controller(slurm)
    if controller.grade is Grade.WARNING and config.image != "none":  # the local engine starts stages in it, too
        yield from _look_at_image(config, site or Site(name="this machine", partitions={}))
    if config.image == "none":  # what an image has of its own is seen inside only
        yield from check_named(config, here=controller.grade is Grade.WARNING)
    if site and controller.grade is Grade.WARNING:
        controller = bad("slurm", f"{controller.answer}, and --site is about one", "run this on a login node")
    yield controller
    if controller.grade is not Grade.OK:
        return
    site = site or check_site(discover_site(slurm))
    yield from _ask_slurm(site, config, slurm)
    yield from _look_at_image(config, site)
    if not options.no_jobs:
        yield from check_nodes(site, config, folder, patience_s=options.patience)


def _look_at_image(config: RunConfig, site: Site) -> Iterator[Finding]:
    yield from check_image(config, site)
    yield check_apptainer(site, needed=config.image != "none")


def _ask_slurm(site: Site, config: RunConfig, slurm: Slurm) -> Iterator[Finding]:
    yield check_munge(slurm)
    yield check_accounting(slurm)
    partitions = list(check_partitions(site, config, slurm))
    yield from partitions
    if all(one.grade is not Grade.PROBLEM for one in partitions):  # else they say why jobs are refused
        yield from check_requests(site, config, slurm)
    yield check_limits(site, config, slurm)


def show(findings: Sequence[Finding]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    if console.width < NARROW:
        sys.stdout.write("".join(_lines(one) for one in findings))
    else:
        console.print(_table(findings))
    problems = sum(one.grade is Grade.PROBLEM for one in findings)
    told = f"{counted(problems, 'problem')}: a submission would fail" if problems else "a submission would work"
    sys.stdout.write(f"{told}\n")


def _lines(one: Finding) -> str:
    """A finding where no table fits, for the terminal to break as it likes: what is long can still be copied whole."""
    told = f"{one.check}: {one.grade}: {one.answer}\n" + (f"  do: {one.fix}\n" if one.fix else "")
    return "".join(f"{plain(line)}\n" for line in told.splitlines())


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(show_edge=False)
    for column in ("check", "", "answer", "what to do"):
        table.add_column(column, overflow="fold", no_wrap=column in ("check", ""))
    for one in findings:
        told = [Text(plain(text)) for text in (one.check, one.answer, one.fix)]  # in brackets nothing is meant
        table.add_row(told[0], Text(one.grade, style=COLOURS[one.grade]), *told[1:])
    return table


if __name__ == "__main__":
    enter(main)
