"""Stages small enough for a hundred of them a minute on two cores, laid over a copy of the package.

Each keeps the real stages' contract: the run's config, `Marker`, deterministic content, resume from what was flushed,
SIGTERM and SIGUSR2 as a wish to stop. RUN.faults/NAME files, beside the run folder, ask for trouble: see `trouble`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path

from selu_hpc.recipes import load_run
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.rundir import RunDir, ShardDir, Stage, write_bytes
from selu_hpc.stages import entry


class Wish:
    """Set by a signal, looked at between steps."""

    def __init__(self, *, deaf: bool) -> None:
        self.name = ""
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN if deaf else self._note)

    def _note(self, number, _frame) -> None:
        self.name = signal.Signals(number).name


def work(place: ShardDir, *, attempt: int, steps: int, upstream: str, pause_s: float = 0.05) -> None:
    """Write `steps` lines, each derived from the last, flushing every one; go on from what is there."""
    if place.read_marker() is not None:
        return
    wish = Wish(deaf=(faults_of(place) / f"deaf-{place.name}").exists())
    file = place.path / "lines.jsonl"
    place.path.mkdir(parents=True, exist_ok=True)
    lines = [line for line in file.read_text().splitlines() if line] if file.exists() else []
    state = lines[-1] if lines else upstream
    progress = entry.Progress.of(place, attempt, steps)
    if lines:
        progress.update(len(lines))
    while len(lines) < steps:
        trouble(place, attempt, step=len(lines))
        while lines and is_held(place) and not wish.name:
            time.sleep(0.05)
        if wish.name:
            raise entry.RequeueRequested(f"stopped at line {len(lines)} by {wish.name}")
        time.sleep(slowness(place) or pause_s)
        state = hashlib.sha256(f"{place.name}/{len(lines)}/{state}".encode()).hexdigest()
        lines.append(state)
        with file.open("a") as out:
            out.write(state + "\n")
            out.flush()
            os.fsync(out.fileno())
        progress.update(len(lines))
    place.write_marker(content=state, names=["lines.jsonl"], summary={"steps": steps, "attempt": attempt})


def faults_of(place: ShardDir) -> Path:
    return place.run.path.with_name(f"{place.run.path.name}.faults")


def content(place: ShardDir) -> str:
    return place.require_marker().content


def slowness(place: ShardDir) -> float:
    file = faults_of(place) / f"slow-{place.name}"
    return float(file.read_text()) if file.exists() else 0.0


def is_held(place: ShardDir) -> bool:
    return (faults_of(place) / f"hold-{place.name}").exists()


def trouble(place: ShardDir, attempt: int, *, step: int) -> None:
    """fail-NAME tells how many attempts shall fail; hog-NAME how many MB the first attempts take.

    Elsewhere: slow-NAME is the pause before each line, hold-NAME keeps a shard at its first line while it is there.
    """
    faults = faults_of(place)
    fail = faults / f"fail-{place.name}"
    if fail.exists() and (left := int(fail.read_text())) > 0 and step == 1:
        fail.write_text(str(left - 1))
        raise RuntimeError(f"asked to fail, {left - 1} failures left")
    bad_node = faults / "bad-node"
    if bad_node.exists() and os.environ.get("SLURMD_NODENAME") == bad_node.read_text().strip():
        raise RuntimeError("this node is broken")
    hog = faults / f"hog-{place.name}"
    if hog.exists() and step == 1 and float(os.environ.get("SLURM_MEM_PER_NODE", "0")) < float(hog.read_text()):
        block = bytearray(int(float(hog.read_text()) * (1 << 20)))
        for at in range(0, len(block), 4096):
            block[at] = 1
        time.sleep(30)


def mortal(argv: list[str]) -> None:
    """A gate job dies at the journal line that gates-die names next: in turn just before the line and just after it."""
    run_folder = Path(argv[argv.index("--run") + 1])
    file = run_folder.with_name(f"{run_folder.name}.faults") / "gates-die"
    if "--close" in argv or not file.exists() or not (places := file.read_text().split()):
        return
    place, count = int(places[0]), 0
    after = place % 2 == 0
    write = Journal._write

    def write_and_die(self: Journal, lines: list[bytes], *, sync: bool) -> None:
        nonlocal count
        for number in range(len(lines)):
            count += 1
            if count == place:
                file.write_text(" ".join(places[1:]))
                write(self, lines[: number + after], sync=sync)
                os._exit(77)
        write(self, lines, sync=sync)

    Journal._write = write_and_die  # type: ignore[method-assign]


def run(*, run: str, round_id: int, shard: int, attempt: int, role: str = "") -> None:
    folder = RunDir(Path(run))
    stage = Stage(os.environ["SELU_PAYLOAD_STAGE"]) if not role else Stage(f"finetune_{role}")
    place = folder.shard(round_id, stage, shard)
    if os.environ.get("SLURM_PROCID", "0") != "0":  # another rank of the same step
        mortal_rank(place)
        return
    note_devices(place, attempt)
    work(place, attempt=attempt, steps=steps_of(stage), upstream=upstream_of(folder, stage, round_id, shard))
    if role and not (place.path / "adapter").exists():
        write_bytes(place.path / "adapter" / "adapter.json", content(place).encode())


def mortal_rank(place: ShardDir) -> None:
    """rank-dies-NAME: every rank but the first dies as where its node's memory ran out, once."""
    file = faults_of(place) / f"rank-dies-{place.name}"
    if file.exists():
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def note_devices(place: ShardDir, attempt: int) -> None:
    seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_NUM_TASKS", "TMPDIR")}
    (place.attempt(attempt) / "seen.json").write_text(json.dumps(seen))


def steps_of(stage: Stage) -> int:
    return 8 if stage in (Stage.ROLLOUT, Stage.FINETUNE_ACTOR) else 3


def upstream_of(folder: RunDir, stage: Stage, round_id: int, shard: int) -> str:
    """What a shard is made from; raises MissingShardError when it was started too early."""
    if stage is Stage.TESTSET or (stage is Stage.EVALUATE and round_id == 0):
        return f"seed {load_run(folder.path).seed}"
    trained = [Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC]
    if stage is Stage.EVALUATE:
        return "".join(content(folder.shard(round_id, one)) for one in trained)
    if stage is Stage.ROLLOUT:
        return content(folder.shard(round_id - 1, trained[0])) if round_id > 1 else "base"
    if stage is Stage.LABEL:
        critic = content(folder.shard(round_id - 1, trained[1])) if round_id > 1 else "base"
        return content(folder.shard(round_id, Stage.ROLLOUT, shard)) + critic
    return folder.dataset(round_id, stage.value.removeprefix("finetune_")).read_text()


def assemble(folder: RunDir, config, seal) -> str:
    """Stands in for stages.assemble: both datasets from the sealed shards."""
    text = json.dumps(seal.shards, sort_keys=True) + "\n"
    place = folder.shard(seal.round_id, Stage.GATE)
    for name in ("actor.jsonl", "critic.jsonl"):
        write_bytes(place.path / name, text.encode())
    write_bytes(place.path / "card.json", b"{}\n")
    return hashlib.sha256(text.encode()).hexdigest()
