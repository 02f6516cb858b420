"""SELU's table: every variant, control and baseline, seed by seed, over as many sittings as it takes.

    python benchmarks/selu.py                        go on with the next runs of the list until all are there
    python benchmarks/selu.py --minutes 50           … until the time is up; a run under way is continued next time
    python benchmarks/selu.py --recipes selu,random --simulators thor --seeds 0
    python benchmarks/selu.py --recipes zero_shot --seeds 0 --set env.world=known      the base where it was taught
    python benchmarks/selu.py --table-only           no runs: the table of what is there
    python benchmarks/selu.py --way undone           no runs: what all critics make of the failures of one way
    python benchmarks/selu.py --round 2              no runs: how far SELU was ahead after that round, --results
                                                     and docs/results together
    python benchmarks/selu.py --quick                one tiny round of selu in THOR, into a folder of its own

A finished run leaves docs/results/SIMULATOR-[WORLD-]RECIPE-sSEED.json (config signature, commit, outcomes, minutes).
One whose signature or base is another than the recipe's now is made anew. The table between the markers in
docs/results.md is rewritten; of summaries elsewhere (--results) it is only printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from _report import exit_code, report, run

from selu_hpc.config import RunConfig, World
from selu_hpc.errors import ConfigError
from selu_hpc.evaluate import read_summaries
from selu_hpc.recipes import load_recipe, load_run
from selu_hpc.rounds.provenance import default_folder, open_run
from selu_hpc.rounds.rundir import RunDir, Stage, write_json
from selu_hpc.selu.leads import leads_markdown, make_leads, way_markdown
from selu_hpc.selu.rows import ORDER, TableRow, make_rows
from selu_hpc.selu.summary import summarise
from selu_hpc.selu.table import by_round_markdown, by_type_markdown, by_way_markdown, markdown
from selu_hpc.stages.models import base_of
from selu_hpc.summaries import as_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
FIRST = ("selu", "random", "oracle")
SIMULATORS = ("thor", "virtualhome")
SEEDS = (0, 1, 2)
BEGIN, END = "<!-- selu table: begin -->", "<!-- selu table: end -->"
TARGETS = {
    "thor_critic_gain_points": ">=28",
    "thor_actor_gain_points": ">=20",
    "virtualhome_critic_gain_points": ">=30",
    "virtualhome_actor_gain_points": ">=24",
    "thor_actor_gain_over_random_control": ">=2",
}
QUICK = (
    "rollout.num_shards=2", "rollout.episodes_per_shard=8", "rollout.num_slots=4", "evaluate.num_shards=1",
    "evaluate.critic_episodes=8", "evaluate.actor_episodes=4", "evaluate.probe_questions=6", "env.horizon=4",
    "mix.actor_samples=64", "mix.critic_samples=64", "evaluate.bootstrap_samples=50",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One run of the table."""

    recipe: str
    simulator: str
    seed: int
    rounds: int
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        world = "" if self.config.env.world is World.UNKNOWN else f"{self.config.env.world}-"
        return f"{self.simulator}-{world}{self.recipe}-s{self.seed}"

    @property
    def config(self) -> RunConfig:
        flags = {"seed": self.seed, "rounds": self.rounds}
        return load_recipe(self.recipe, (f"env.simulator={self.simulator}", *self.settings), flags)


def numbers(text: str) -> tuple[int, ...]:
    """An argument's seeds."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}; give numbers with commas between them") from error


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipes", default="", help="comma-separated; default: all")
    parser.add_argument("--simulators", default="", help="comma-separated; default: thor,virtualhome")
    parser.add_argument("--seeds", type=numbers, help="comma-separated; default: 0,1,2")
    parser.add_argument("--rounds", type=int, help="default: 5")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so long")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of summaries (default: docs/results)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--table-only", action="store_true", help="no runs: the table of what is there")
    parser.add_argument("--way", default="", help="no runs: how often failures of this way are called a success")
    parser.add_argument("--round", type=int, help="no runs: how far SELU was ahead after that round")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one tiny round of selu, or of --recipes, in THOR, with seed 0, to RUNS/quick-results; no other choice",
    )
    options = parser.parse_args(words)
    if options.way:
        found = list(read_summaries(options.results))
        known = sorted({way for one in found for way in one.get("critic_ways", ())})
        if options.way not in known:
            raise ConfigError(
                f"--way {options.way}: the summaries in {options.results} have {', '.join(known) or 'none'}"
            )
        print(way_markdown(found, options.way))
        return 0
    if options.round is not None:
        # Of a run that is in both folders the one in --results counts.
        found = [one for folder in dict.fromkeys((options.results, RESULTS)) for one in read_summaries(folder)]
        print(leads_markdown(make_leads(as_of(found, options.round))))
        return 0
    jobs = list(choose(options))
    begun = time.monotonic()
    if not options.table_only:
        for job in jobs:
            if time.monotonic() - begun > options.minutes * 60:
                print(f"time is up; {sum(not is_done(j, options.results) for j in jobs)} runs are left")
                break
            if not is_done(job, options.results):
                do(job, options.results, options.runs)
    return show(options)


def choose(options: argparse.Namespace) -> Iterator[Job]:
    """What is asked for, in the order it matters: the main result and its controls first, in both simulators."""
    if options.quick:
        make_quick(options)
    recipes = tuple(options.recipes.split(",")) if options.recipes else ORDER
    simulators = tuple(options.simulators.split(",")) if options.simulators else SIMULATORS
    seeds, rounds = options.seeds or SEEDS, 5 if options.rounds is None else options.rounds
    first = [recipe for recipe in recipes if recipe in FIRST]
    rest = [recipe for recipe in recipes if recipe not in FIRST]
    passes: list[tuple[Sequence[str], Sequence[str]]] = [(first, simulators)]
    passes += [(rest, (simulator,)) for simulator in simulators]
    for some, where in passes:
        for seed in seeds:
            for simulator in where:
                for recipe in some:
                    # SELU's curve is shown; of the others the table needs the two ends only.
                    ends = () if recipe == "selu" else (f"evaluate.every={rounds}",)
                    yield Job(recipe, simulator, seed, rounds, (*ends, *options.set))


def make_quick(options: argparse.Namespace) -> None:
    """Settle what --quick decides; what was asked for besides is refused, not dropped without a word."""
    for name, asked in (("rounds", options.rounds), ("simulators", options.simulators), ("seeds", options.seeds)):
        if asked:
            raise ConfigError(f"--quick is one round in THOR with seed 0: leave out --{name}, or --quick")
    options.results, options.runs = options.runs / "quick-results", options.runs / "quick"
    options.rounds, options.set = 1, [*options.set, *QUICK]
    options.recipes, options.simulators, options.seeds = options.recipes or "selu", "thor", (0,)


def is_done(job: Job, results: Path) -> bool:
    file = results / f"{job.name}.json"
    if not file.is_file():
        return False
    known = json.loads(file.read_bytes())
    rounds = 0 if job.recipe == "zero_shot" else job.rounds
    same = known["signature"] == job.config.signature and known.get("base", "") == base_of(job.config)
    return bool(same and known["rounds"][-1]["round"] >= rounds)


def do(job: Job, results: Path, runs: Path) -> None:
    """Run it by the command a user would, and keep its summary; a run begun before goes on."""
    config = job.config
    folder = runs / default_folder(config).name
    command = [sys.executable, "-m", "selu_hpc.submit", "--engine=local", f"--run={folder}", f"--recipe={job.recipe}"]
    command += [f"--seed={job.seed}", f"--rounds={job.rounds}", f"--set=env.simulator={job.simulator}"]
    command += [f"--set={setting}" for setting in job.settings]
    print(f"{job.name}: {' '.join(command[1:])}", flush=True)
    share_testset(folder, config)
    clock = folder.with_name(folder.name + ".seconds")
    before = float(clock.read_text()) if clock.is_file() else 0.0
    begun = time.monotonic()
    try:
        with folder.with_name(folder.name + ".log").open("ab") as log:
            finished = subprocess.run(command, stdout=log, stderr=log, cwd=ROOT, check=False).returncode == 0
    finally:
        seconds = before + time.monotonic() - begun
        clock.write_text(f"{seconds:.1f}")
    if not finished:
        print(f"{job.name}: failed; its log is {folder}.log", flush=True)
        return
    summary = summarise(RunDir(folder), load_run(folder))
    assert summary is not None
    results.mkdir(parents=True, exist_ok=True)
    write_json(results / f"{job.name}.json", {**summary, "minutes": round(seconds / 60, 2)})
    print(f"{job.name}: {seconds / 60:.1f} min", flush=True)


def share_testset(folder: Path, config: RunConfig) -> None:
    """Begin a run with the frozen test set of another over the same environment by the same code: it would be made
    alike, at length."""
    run, _ = open_run(folder, config)
    if any(run.shard(0, Stage.TESTSET, shard).path.exists() for shard in range(config.evaluate.num_shards)):
        return
    for other in sorted(path for path in folder.parent.iterdir() if (path / "config.yaml").is_file()):
        if not (code_of(other) == code_of(folder) != ""):
            continue  # another camera makes another test set of the same settings
        theirs = load_run(other)
        source = RunDir(other)
        shards = [source.shard(0, Stage.TESTSET, shard) for shard in range(config.evaluate.num_shards)]
        alike = (theirs.env, theirs.evaluate) == (config.env, config.evaluate)
        if other != folder and alike and all(shard.read_marker() for shard in shards):
            for shard in shards:
                mine = run.shard(0, Stage.TESTSET, shard.shard)
                _copy(shard.truth, mine.truth)
                _copy(shard.path, mine.path)  # last, since its marker says that both are there
            shutil.copytree(source.scenes, run.scenes, dirs_exist_ok=True)
            return


def code_of(folder: Path) -> str:
    """The commit a run was begun with; nothing where the code had been changed since."""
    code = json.loads((folder / "provenance.json").read_text())["code"]
    return "" if code["dirty"] else str(code["commit"] or "")


def _copy(source: Path, folder: Path) -> None:
    """All or nothing, once: a sitting may end in between."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    partial.rename(folder)


def show(options: argparse.Namespace) -> int:
    summaries = list(read_summaries(options.results)) if options.results.is_dir() else []
    rows = make_rows(summaries)
    curves = [s for s in summaries if s["recipe"] == "selu" and s["seed"] == SEEDS[0]]
    parts = [
        markdown(rows),
        leads_markdown(make_leads(summaries)),
        *(by_type_markdown(row) for row in rows if row.recipe == "selu"),
        *(text for row in rows if row.recipe == "selu" and (text := by_way_markdown(row))),
    ]
    text = "\n".join([*parts, *(by_round_markdown(summary) for summary in curves)])
    print(text)
    if rows and options.results.resolve() == RESULTS.resolve():  # of others the published table would be no more
        rewrite(RESULTS.with_suffix(".md"), text)
    targets = {} if options.quick else TARGETS
    return exit_code(report("selu", measures={"runs": len(summaries)}, ratios=ratios(rows), targets=targets))


def ratios(rows: Sequence[TableRow]) -> dict[str, float]:
    """Gains in points, and SELU's actor's over the random control's."""
    found: dict[str, float] = {}
    ranked = sorted(rows, key=lambda row: (row.rounds, len(row.seeds)))  # of several the one that went furthest
    by_name = {(row.simulator, row.recipe): row for row in ranked if row.world == "unknown"}
    for simulator in SIMULATORS:
        row, control = by_name.get((simulator, "selu")), by_name.get((simulator, "random"))
        if row is not None:
            found[f"{simulator}_critic_gain_points"] = row.critic.gain
            found[f"{simulator}_actor_gain_points"] = row.actor.gain
        if row is not None and control is not None:
            found[f"{simulator}_actor_gain_over_random_control"] = row.actor.gain / max(control.actor.gain, 1.0)
    return found


def rewrite(file: Path, text: str) -> None:
    """Put the table between its markers; the rest of the page is people's."""
    page = file.read_text(encoding="utf-8") if file.is_file() else "# Results\n"
    if BEGIN not in page:
        page += f"\n## SELU\n\n{BEGIN}\n{END}\n"
    head, _, rest = page.partition(BEGIN)
    tail = rest.partition(END)[2]
    file.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    run(main)
