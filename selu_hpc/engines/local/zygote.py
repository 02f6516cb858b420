"""A process that has the heavy modules loaded and forks one child per shard, so that a shard starts in milliseconds.

The local engine talks to it in JSON lines. In go {"start": id, "stage", "run", "round_id", "shard", "attempt", "log"},
with "command" and "environment" where the child is to become a process of its own, and {"kill": id, "signal": n}; out
come {"ready"}, {"started": id, "pid"} and {"ended": id, "code"}.
It dies with the engine and its children die with it, so a killed controller leaves nothing behind.
Does not own which shard is due; the child calls `stages.entry.run_stage` and nothing else.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from selu_hpc.processes import die_with_parent

PRELOADED = (
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "tensorboard.summary.writer.event_file_writer",
    "zarr",
    "ai2thor.controller",
    "transformers.models.llava.modeling_llava",
    "transformers.models.llava.processing_llava",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.image_processing_pil_clip",
    "transformers.models.llama.modeling_llama",
    "selu_hpc.models.generate",
    "selu_hpc.models.merged",
    "selu_hpc.models.pocket.model",
    "selu_hpc.train.sft",
)


def main() -> None:
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):  # what ends a whole group is the engine's to answer
        signal.signal(number, signal.SIG_IGN)
    out = os.dup(1)
    os.dup2(2, 1)
    for module in PRELOADED:
        importlib.import_module(module)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    _say(out, {"ready": True})
    _serve(out, wake_read)


def _serve(out: int, wake: int) -> None:
    children: dict[int, str] = {}
    buffer = b""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            with suppress(BlockingIOError):
                os.read(wake, 4096)
            _reap(children, out)
        if 0 in readable:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                _obey(json.loads(line), children, out)


def _obey(request: dict[str, Any], children: dict[int, str], out: int) -> None:
    if "kill" in request:
        for pid, name in children.items():
            if name == request["kill"]:
                with suppress(ProcessLookupError):
                    os.killpg(pid, request["signal"])
        return
    pid = os.fork()
    if pid == 0:
        _become_shard(request)
    with suppress(OSError):
        os.setpgid(pid, pid)
    children[pid] = request["start"]
    _say(out, {"started": request["start"], "pid": pid})


def _reap(children: dict[int, str], out: int) -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if name := children.pop(pid, None):
            _say(out, {"ended": name, "code": os.waitstatus_to_exitcode(status)})


def _become_shard(request: dict[str, Any]) -> None:
    """In the child: own process group, own log, run the stage, leave without the parent's clean-up."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        die_with_parent()
        log = Path(request["log"])
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, descriptor), (2, descriptor)):
            os.dup2(source, target)
        if command := request.get("command"):
            os.execve(command[0], command, request["environment"])
        from selu_hpc.rounds.rundir import Stage
        from selu_hpc.stages.entry import run_stage

        code = run_stage(
            Stage(request["stage"]),
            run=request["run"],
            round_id=request["round_id"],
            shard=request["shard"],
            attempt=request["attempt"],
        )
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _say(out: int, message: dict[str, Any]) -> None:
    os.write(out, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
