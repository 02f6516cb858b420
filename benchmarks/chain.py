"""What chaining costs on a real Slurm: idle time between stages, what aftercorr saves, and what a submission uses.

    sudo python benchmarks/chain.py [--quick] [--only PART …]        where tests/cluster/cluster.py is up

Four measurements, each against what a person would write by hand on the same cluster in the same minutes:
idle   our chain of one round, both fine-tunings included, and a hand-written sbatch chain of the same sleeps run side
       by side; idle is the time between the end of a stage and the start of the next one that waits for it.
corr   uneven shards: labels that wait for their own rollout, and labels that wait for all rollouts.
submit 5 rounds of 1,000-task arrays: `submit` against the bare sbatch calls of the very same scripts, its memory, and
       whether torch was imported.
status the command over 10,000 finished shards against `ls -R` of their folders.
Deliberately simple: tasks sleep; the cluster's partition is closed while submissions are measured.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "slurm"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _report import exit_code, report
from harness import SMALL, Lab, copy_with_payload, journal, load_cluster, started

NEXT = (("rollout", "label"), ("label", "gate"), ("gate", "finetune_actor"), ("gate", "finetune_critic"),
        ("finetune", "evaluate"))  # fmt: skip
SLEEP_S = 1.0
CLOSED = "preempt"
PARTS = ("idle", "corr", "submit", "status")
RATIOS = {
    "idle_ours_vs_hand": ("idle_ours_s", "idle_hand_s"),
    "labels_aftercorr_vs_barrier": ("corr_aftercorr_s", "corr_barrier_s"),
    "submit_vs_sbatch": ("submit_s", "sbatch_s"),
    "dry_run_vs_sbatch": ("dry_run_s", "sbatch_s"),
    "status_vs_listing": ("status_s", "listing_s"),
}
TARGETS = {
    "idle_ours_vs_hand": "<=1.1",
    "submit_vs_sbatch": "<=2",
    "dry_run_vs_sbatch": "<=2",
    "submit_memory_mb_vs_200": "<=1",
    "heavy_imports": "==0",
    "status_vs_listing": "<=2",
}
MEMORY = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-X", "importtime", "-m", "selu_hpc.submit", *sys.argv[1:]],
                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
heavy = [name for name in ("torch", "transformers", "zarr", "ai2thor") if f"| {name}\\n" in done.stderr]
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, *heavy)
sys.exit(done.returncode)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure chaining on the test cluster, as root; `python tests/cluster/cluster.py up` brings it up."
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; ends within 50 seconds")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts only")
    options = parser.parse_args()
    quick = options.quick
    cluster = load_cluster()
    try:
        cluster.require_up()
    except cluster.ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    code = cluster.STATE / "shared" / f"code-bench-{uuid.uuid4().hex[:6]}"
    lab = Lab(cluster, cluster.STATE / "shared", copy_with_payload(code))
    # As pip does when it installs a package; the test user may not write beside the sources.
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(code / "selu_hpc")], check=True)
    found: dict[str, Any] = {}
    if "idle" in options.only:
        found |= idle(lab, repetitions=1 if quick else 5)
    if "corr" in options.only:
        found |= corr(lab, unit_s=1.0 if quick else 2.0)
    if "submit" in options.only:
        found |= submission(lab, repetitions=1 if quick else 3)
    if "status" in options.only:
        found |= status(lab)
    ratios = {name: found[ours] / found[theirs] for name, (ours, theirs) in RATIOS.items() if ours in found}
    if "submit" in options.only:
        ratios |= {
            "submit_memory_mb_vs_200": found["submit_memory_mb"] / 200,
            "heavy_imports": len(found["submit_heavy_imports"]),
        }
    targets = {name: target for name, target in TARGETS.items() if name in ratios}
    return exit_code(report("chain", measures=found, ratios=ratios, targets=targets))


def idle(lab: Lab, *, repetitions: int) -> dict[str, Any]:
    """Mean gap between stages, ours and by hand, in chains that run side by side under the same scheduler."""
    ours: list[float] = []
    hand: list[float] = []
    for _ in range(repetitions):
        run = fresh(lab)
        by_hand = submit_by_hand(lab, fresh(lab))
        lab.submit(run)
        lab.wait_done(run)
        wait_for(lab, by_hand)
        spans: dict[str, list[tuple[float, float]]] = {}
        for place, attempts in started(run).items():
            if place.startswith("01/"):
                spans.setdefault(place.split("/")[1], []).extend((a["begun"], a["ended"]) for a in attempts)
        ours += gaps(spans)
        hand += gaps(read_spans(by_hand))
    return {
        "idle_ours_s": round(statistics.mean(ours), 3),
        "idle_hand_s": round(statistics.mean(hand), 3),
        "idle_num_gaps": len(ours),
    }


def gaps(spans: dict[str, list[tuple[float, float]]]) -> list[float]:
    """Per pair of stages: from the last end of what is waited for to the first start of what waits."""
    found = []
    for before, after in NEXT:
        ends = [end for stage, times in spans.items() if stage.startswith(before) for _, end in times]
        if (before, after) == ("rollout", "label"):
            ends = [min(ends)]  # aftercorr: the first label may start when the first rollout has ended
        found.append(min(begun for begun, _ in spans[after]) - max(ends))
    return found


def submit_by_hand(lab: Lab, folder: Path) -> Path:
    """The chain a person writes: the same stages and shards as ours, bare sleeps, ids passed on by the shell."""
    task = "echo $1 $(date +%s.%N) >> $1.$SLURM_JOB_ID; sleep $2; echo $1 $(date +%s.%N) >> $1.$SLURM_JOB_ID"
    (folder / "task.sh").write_text(f"#!/bin/bash\n{task}\n")
    chain = f"""set -e
    s() {{ sbatch --parsable --mem=1G --time=60 --output=/dev/null --kill-on-invalid-dep=yes "$@"; }}
    r=$(s -a 0-2 task.sh rollout {SLEEP_S})
    l=$(s -a 0-2 -d aftercorr:$r task.sh label {SLEEP_S})
    g=$(s -d afterany:$l task.sh gate {SLEEP_S})
    a=$(s -d afterok:$g task.sh finetune_actor {SLEEP_S})
    c=$(s -d afterok:$g task.sh finetune_critic {SLEEP_S})
    s -d afterok:$a:$c task.sh evaluate {SLEEP_S} > last
    """
    (folder / "chain.sh").write_text(chain)
    lab.call("bash", "chain.sh", cwd=folder)
    return folder


def wait_for(lab: Lab, folder: Path) -> None:
    last = (folder / "last").read_text().strip()
    while last in lab.call("squeue", "--noheader", "--format=%A").stdout.split():
        time.sleep(0.5)


def read_spans(folder: Path) -> dict[str, list[tuple[float, float]]]:
    spans: dict[str, list[tuple[float, float]]] = {}
    for file in folder.glob("*.[0-9]*"):
        times = [float(line.split()[1]) for line in file.read_text().splitlines()]
        spans.setdefault(file.name.partition(".")[0], []).append((times[0], times[-1]))
    return spans


def corr(lab: Lab, *, unit_s: float) -> dict[str, Any]:
    """Four shards whose rollouts take 1, 2, 3, 8 units and whose labels take 8, 3, 2, 1."""
    seconds = {}
    for name, after in (("aftercorr", "aftercorr"), ("barrier", "afterok")):
        folder = fresh(lab)
        (folder / "task.sh").write_text(
            "#!/bin/bash\nlengths=($2)\n"
            "echo $1 $(date +%s.%N) >> $1.$SLURM_JOB_ID; sleep ${lengths[$SLURM_ARRAY_TASK_ID]}\n"
            "echo $1 $(date +%s.%N) >> $1.$SLURM_JOB_ID\n"
        )
        rollouts, labels = (" ".join(str(unit_s * n) for n in lengths) for lengths in ((1, 2, 3, 8), (8, 3, 2, 1)))
        lab.call(
            "bash", "-ec",
            's="sbatch --parsable --mem=200M --output=/dev/null -a 0-3"\n'
            f'r=$($s task.sh rollout "{rollouts}"); $s -d {after}:$r task.sh label "{labels}" > last',
            cwd=folder,
        )  # fmt: skip
        last = (folder / "last").read_text().strip()
        while last in lab.call("squeue", "--noheader", "--format=%F").stdout.split():
            time.sleep(0.3)
        times = [time_ for span in read_spans(folder).values() for pair in span for time_ in pair]
        seconds[f"corr_{name}_s"] = round(max(times) - min(times), 2)
    return seconds


def submission(lab: Lab, *, repetitions: int) -> dict[str, Any]:
    """Five rounds of arrays of 1,000, into a closed partition, and the bare sbatch calls for the same scripts."""
    site = lab.home / f"site-{uuid.uuid4().hex[:6]}.yaml"
    site.write_text(f"name: selu\npartitions: {{cpu: {{name: {CLOSED}}}}}\n")
    lab.cluster.output(["scontrol", "update", f"partitionname={CLOSED}", "state=down"])
    ours, bare, dry, memory, heavy = [], [], [], 0.0, set()
    try:
        for _ in range(repetitions):
            run = fresh(lab, make=False)
            words = ["--run", str(run), "--rounds", "5", "--engine", "slurm", "--site", str(site)]
            words += [w for s in (*SMALL, "rollout.num_shards=1000") for w in ("--set", s)]
            dry.append(timed(lambda words=words: lab.python("-m", "selu_hpc.submit", *words, "--dry-run")))
            ours.append(timed(lambda words=words: lab.python("-m", "selu_hpc.submit", *words)))
            ids = [event["job"] for event in journal(run) if event["event"] == "submitted"]
            lab.call("scancel", *ids)
            bare.append(bare_sbatch(lab, run))
            said = lab.python("-c", MEMORY, *words[:1], f"{run}-again", *words[2:]).stdout.split()
            lab.python("-m", "selu_hpc.cancel", "--run", f"{run}-again", "--no-wait")
            memory, heavy = max(memory, float(said[0])), heavy | set(said[1:])
    finally:
        lab.cluster.output(["scontrol", "update", f"partitionname={CLOSED}", "state=up"])
    return {
        "dry_run_s": round(statistics.median(dry), 3),
        "submit_s": round(statistics.median(ours), 3),
        "sbatch_s": round(statistics.median(bare), 3),
        "num_sbatch_calls": len(ids),
        "submit_memory_mb": round(memory, 1),
        "submit_heavy_imports": sorted(heavy),
    }


def bare_sbatch(lab: Lab, run: Path) -> float:
    """The same scripts in the same order with the same dependencies, by a shell loop."""
    lines = ["declare -A id"]
    for event in journal(run):
        if event["event"] == "intent":
            waits = (":".join((after, *(f"${{id[{name}]}}" for name in names))) for after, *names in event["waits"])
            flag = f'-d "{",".join(waits)}"' if event["waits"] else ""
            lines.append(f"id[{event['name']}]=$(sbatch --parsable {flag} jobs/{event['name']}.sh)")
            lines.append(f"echo ${{id[{event['name']}]}} >> ids")
    script = run / "bare.sh"
    script.write_text("\n".join(lines) + "\n")
    seconds = timed(lambda: lab.call("bash", str(script), cwd=run))
    lab.call("bash", "-c", "scancel $(cat ids)", cwd=run)
    return seconds


def status(lab: Lab) -> dict[str, Any]:
    """`status` over a run with 10,000 finished shards, against listing their folders; each a command of its own."""
    run = fresh(lab, make=False)
    settings = ["rollout.num_shards=5000", "evaluate.num_shards=1", "rounds=1"]
    lab.python("-c", FINISHED_RUN, str(run), *settings)
    found, listed = [], []
    for _ in range(3):
        listed.append(timed(lambda: lab.call("ls", "-R", str(run / "rounds"))))
        found.append(timed(lambda: lab.python("-m", "selu_hpc.status", "--run", str(run))))
    shutil.rmtree(run)
    return {"listing_s": round(statistics.median(listed), 4), "status_s": round(statistics.median(found), 4)}


FINISHED_RUN = """
import sys
from pathlib import Path
from selu_hpc.engines.base import Job
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.provenance import open_run
run, config = open_run(Path(sys.argv[1]), load_recipe("selu", sys.argv[2:]))
job = Job(run, config, make_plan(config))
job.note_plan()
for stage in job.plan:
    for shard in range(stage.num_shards):
        place = run.shard(stage.key.round_id, stage.key.stage, shard)
        place.attempt(0).mkdir(parents=True)
        for file in (place.marker_file, place.episodes, place.log(0), place.attempt(0) / "job.json"):
            file.write_text("{}")
"""


def timed(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def fresh(lab: Lab, *, make: bool = True) -> Path:
    folder = lab.home / f"bench-{uuid.uuid4().hex[:8]}"
    if make:
        lab.call("mkdir", str(folder))
        if not folder.is_dir():
            raise subprocess.SubprocessError(f"could not make {folder}")
    return folder


if __name__ == "__main__":
    sys.exit(main())
