"""Runs on the real Slurm as its unprivileged user: a copy of the package with payload stages, run folders, waiting."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

REPO = Path(__file__).resolve().parents[2]
SMALL = (
    "rollout.num_shards=3", "evaluate.num_shards=1", "evaluate.critic_episodes=8", "evaluate.actor_episodes=4",
    "rollout.episodes_per_shard=4",
    *(f"resources.{stage}.mem_gb=1" for stage in
      ("testset", "rollout", "label", "gate", "assemble", "finetune", "evaluate")),
)  # fmt: skip
STAGES = {"testset": "testset", "rollout": "rollout", "label": "label", "evaluate": "evaluate"}

IMAGES = """\"\"\"Stands in for building an image: notes what it was asked for and where its scratch lies.\"\"\"
import os, sys
from pathlib import Path
if __name__ == "__main__":
    assert sys.argv[1] == "build", sys.argv
    note = Path(__file__).parents[1] / f"built-{sys.argv[3]}"
    note.write_text(Path(os.environ["APPTAINER_TMPDIR"]).name.partition(".")[0])
"""


MORTAL_GATE = """    import sys

    from selu_hpc.stages.payload import mortal

    mortal(sys.argv)
    enter(main)"""


def load_cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("selu_cluster", REPO / "tests" / "cluster" / "cluster.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_with_payload(target: Path) -> Path:
    """The package with stages/ replaced by payload.py; its snapshot is what a test's jobs run."""
    for part in ("selu_hpc", "configs", "slurm"):
        shutil.copytree(REPO / part, target / part, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    stages = target / "selu_hpc" / "stages"
    shutil.copy(REPO / "tests" / "slurm" / "payload.py", stages / "payload.py")
    for name, stage in STAGES.items():
        (stages / f"{name}.py").write_text(_module(stage, f"[entry.Stage('{stage}')]"))
    (stages / "finetune.py").write_text(_module("", "[entry.Stage('finetune_actor'), entry.Stage('finetune_critic')]"))
    (stages / "assemble.py").write_text("from selu_hpc.stages.payload import assemble as assemble\n")
    gate = target / "selu_hpc" / "engines" / "slurm" / "gate_job.py"
    gate.write_text(gate.read_text().replace("    enter(main)", MORTAL_GATE))
    device = target / "selu_hpc" / "models" / "device.py"  # payloads compute nothing, and the cluster's GPUs are none
    device.write_text(device.read_text() + "\n\ndef require_gpu(stage, *, draws=False):\n    pass\n")
    (target / "selu_hpc" / "images.py").write_text(IMAGES)
    target.chmod(0o1777)  # where the image payload leaves a note
    (target / "selu_hpc" / "report.py").write_text("def write_report(run):\n    return run.report\n")
    return target


def _module(stage: str, served: str) -> str:
    return (
        f"import os\nos.environ['SELU_PAYLOAD_STAGE'] = '{stage}'\n"
        "from selu_hpc.stages import entry\nfrom selu_hpc.stages.payload import run as run\n"
        f"if __name__ == '__main__':\n    entry.main({served})\n"
    )


@dataclass
class Lab:
    """A user's desk on the cluster: commands run as that user, with the payload package."""

    cluster: ModuleType
    home: Path
    code: Path
    user: str = "selu"
    extra_path: Path | None = None
    extra: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        extra = {"PYTHONPATH": str(self.code), "PYTHONDONTWRITEBYTECODE": "", **self.extra}
        line = self.cluster.as_user(self.user, list(words), extra=extra)
        if self.extra_path:
            line = [f"PATH={self.extra_path}:{word[5:]}" if word.startswith("PATH=") else word for word in line]
        return line

    def call(self, *words: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, cwd=cwd or self.home, check=False)
        if check and done.returncode:
            raise AssertionError(f"{words[:4]} → {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    def python(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.call(sys.executable, *words, check=check)

    def submit(self, run: Path, *words: str, rounds: int = 1, settings: Sequence[str] = SMALL, check: bool = True):
        overrides = [word for setting in settings for word in ("--set", setting)]
        where = ["--run", str(run), "--rounds", str(rounds), "--engine", "slurm"]
        return self.python("-m", "selu_hpc.submit", *where, *overrides, *words, check=check)

    def resubmit(self, run: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "selu_hpc.submit", "--run", str(run), "--engine", "slurm", *words, check=check)

    def fault(self, run: Path, name: str, text: str | float) -> None:
        folder = run.with_name(f"{run.name}.faults")
        self.call("mkdir", "-p", str(folder))
        (folder / name).write_text(str(text))
        shutil.chown(folder / name, self.user, self.user)

    @contextmanager
    def held(self, run: Path, *names: str) -> Iterator[None]:
        """These shards stay at their first line: what the block does meets them at work, however busy the machine."""
        files = [run.with_name(f"{run.name}.faults") / f"hold-{name}" for name in names]
        for file in files:
            self.fault(run, file.name, "")
        try:
            yield
        finally:
            for file in files:
                file.unlink()

    def queue(self, run: Path, *, format_: str = "%j|%F|%K|%T|%i") -> list[list[str]]:
        """Rows of squeue for this run's jobs, elements one by one."""
        run_id = next((e["id"] for e in journal(run) if e["event"] == "slurm_run"), "none")
        out = self.call("squeue", "--noheader", "--array", f"--format={format_}").stdout
        return [line.split("|") for line in out.splitlines() if f"selu-{run_id}-" in line]

    def element(self, run: Path, label: str, shard: int = 0, state: str = "RUNNING", limit_s: float = 300) -> str:
        """The id of an element once it is in a state: `lab.element(run, "r01-rollout", 1)`."""
        for _ in patience(limit_s, f"{label} {shard} in state {state}"):
            for name, _, index, now, element in self.queue(run):
                if f"-{label}-g" in name and index in (str(shard), "N/A") and now == state:
                    return element
        raise AssertionError

    def wait_done(self, run: Path, limit_s: float = 600, *, also_held: bool = False) -> dict[str, str]:
        """Wait until every job has left the queue (or is on hold); the contents of all markers."""
        held_since = None
        for passed in patience(limit_s, f"the end of {run}", context=lambda: self.describe(run)):
            rows = self.queue(run, format_="%j|%T|%r")
            if not rows:
                break
            still = all(row[1] == "PENDING" and row[2] in ("JobHeldUser", "Dependency") for row in rows)
            held_since = (held_since or passed) if still and any("Held" in row[2] for row in rows) else None
            if also_held and held_since and passed - held_since > 5:
                break
        return contents(run)

    def describe(self, run: Path) -> str:
        queue = self.call("squeue", "--array", "--format=%j %i %T %r %E", check=False).stdout
        return queue + "".join(str(event) + "\n" for event in list(journal(run))[-12:])


def patience(limit_s: float, what: str, context=lambda: "") -> Iterator[float]:
    """Yield now and then until the limit; then fail, naming what did not come."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < limit_s:
        yield passed
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {limit_s:.0f} s\n{context()}")


def journal(run: Path) -> Iterator[dict]:
    file = run / "journal.jsonl"
    for line in file.read_text().splitlines() if file.exists() else ():
        yield json.loads(line)


def contents(run: Path) -> dict[str, str]:
    """What a run has produced: every finished shard's content digest, by path."""
    return {
        file.parent.relative_to(run / "rounds").as_posix(): json.loads(file.read_text())["content"]
        for file in sorted((run / "rounds").glob("*/*/*/done.json"))
    }


def started(run: Path) -> dict[str, list[dict]]:
    """Every attempt's record by shard path, in order."""
    found: dict[str, list[dict]] = {}
    for file in sorted((run / "rounds").glob("*/*/*/attempt-*/job.json"), key=lambda f: int(f.parent.name[8:])):
        found.setdefault(file.parents[1].relative_to(run / "rounds").as_posix(), []).append(
            json.loads(file.read_text())
        )
    return found


def root_with_slurm() -> bool:
    return os.geteuid() == 0
