"""Kill a small two-round run at random moments, start it again, and compare it with an undisturbed one.

    python tests/faults/local.py [--kills 25] [--seed 0]

Victims in turn: the controller, its fork server, a shard, a simulator process. Each drive of a run is killed once;
the same command is started again until the kills are used up and the run is finished. Prints a table and exits 1 when
one byte differs, an episode is lost or one is there twice.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))
from outcome import count_episodes, differences, outcome

VICTIMS = ("controller", "fork server", "shard", "simulator")
EPISODES = 4
AT_LEAST_S = 9.0
"""A drive is left alone for up to so long: shorter, and it would be killed before its processes have started."""
SMALL = (
    "--rounds=2",
    "--set=rollout.num_shards=2",
    f"--set=rollout.episodes_per_shard={EPISODES}",
    "--set=evaluate.num_shards=1",
    "--set=evaluate.critic_episodes=8",
    "--set=evaluate.actor_episodes=4",
    "--set=evaluate.probe_questions=8",
    "--set=mix.actor_samples=16",
    "--set=mix.critic_samples=16",
    "--set=env.horizon=4",
    "--set=finetune.global_batch=8",
    "--set=finetune.micro_batch=8",
    "--set=retry.max_retries=3",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25, help="how often to kill something")
    parser.add_argument("--kills-per-run", type=int, default=5, help="kills before a run is left to finish")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="selu-faults-") as folder:
        home = Path(folder)
        begun = time.monotonic()
        start(home / "undisturbed").wait()
        length_s = time.monotonic() - begun
        reference = outcome(home / "undisturbed")
        assert reference, "the undisturbed run came to nothing"
        print(f"undisturbed: {length_s:.0f} s, {len(reference)} digests", flush=True)
        injected: Counter[str] = Counter()
        problems: dict[str, list[str]] = {}
        lost = doubled = 0
        step_s = max(0.8 * length_s / options.kills_per_run, AT_LEAST_S)
        while injected.total() < options.kills:
            run = home / f"run-{len(problems)}"
            here = min(options.kills_per_run, options.kills - injected.total())
            for _ in range(here):
                controller = start(run)
                hit = kill_one(controller, VICTIMS[injected.total() % len(VICTIMS)], after_s=chance.uniform(0, step_s))
                controller.wait()
                if hit is None:  # the machine has become faster since the undisturbed run
                    step_s = max(step_s / 2, AT_LEAST_S)
                    break
                injected[hit] += 1
            finish(run)
            problems[run.name] = differences(outcome(run), reference)
            more_lost, more_doubled = count_episodes(run, EPISODES)
            lost, doubled = lost + more_lost, doubled + more_doubled
    return report(injected, problems, lost, doubled)


def start(run: Path) -> subprocess.Popen[bytes]:
    log = run.with_name(run.name + ".log").open("ab")
    command = [sys.executable, "-m", "selu_hpc.submit", "--engine=local", f"--run={run}", *SMALL]
    return subprocess.Popen(command, stdout=log, stderr=log)


def kill_one(controller: subprocess.Popen[bytes], victim: str, *, after_s: float) -> str | None:
    """Kill the victim once it exists and the moment has come; None when the run was finished before."""
    time.sleep(after_s)
    while controller.poll() is None:
        found = family(controller.pid).get(victim)
        if found:
            random.choice(found).send_signal(signal.SIGKILL)
            return victim
        time.sleep(0.02)
    return None


def family(controller: int) -> dict[str, list[psutil.Process]]:
    """The processes of a run by what they are."""
    found: dict[str, list[psutil.Process]] = {victim: [] for victim in VICTIMS}
    try:
        top = psutil.Process(controller)
        found["controller"].append(top)
        for server in top.children():
            found["fork server"].append(server)
            for shard in server.children():
                found["shard"].append(shard)
                found["simulator"] += shard.children(recursive=True)
    except psutil.NoSuchProcess:
        pass
    return found


def finish(run: Path) -> None:
    for _ in range(3):
        if start(run).wait() == 0:
            return
    raise SystemExit(f"{run} did not finish:\n{run.with_name(run.name + '.log').read_text()[-3000:]}")


def report(injected: Counter[str], problems: dict[str, list[str]], lost: int, doubled: int) -> int:
    print(f"\n{'killed':<14}{'times':>6}")
    for victim, times in injected.items():
        print(f"{victim:<14}{times:>6}")
    print(f"\n{len(problems)} runs: episodes lost {lost}, doubled {doubled}")
    for run, found in problems.items():
        print(f"{run}: {'same bytes' if not found else '; '.join(found[:8])}")
    return 1 if lost or doubled or any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
