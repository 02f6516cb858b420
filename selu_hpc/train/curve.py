"""The training curve: a record a step, as JSON for reports and as TensorBoard's events for people.

A record: `{"step": 1, "epoch": 0, "loss": 2.1, "learning_rate": 1e-3, "gradient_norm": 0.7, "tokens": 2100,
"answer_tokens": 130, "seconds": 0.4, "tokens_per_s": 5250.0, "time": 1.7e9}`; tokens over all ranks, time by the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selu_hpc.rounds.rundir import write_json

TAGS = ("loss", "learning_rate", "gradient_norm", "tokens_per_s")


def write_curve(file: Path, steps: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    write_json(file, {"summary": summary, "steps": list(steps)})


class Events:
    """TensorBoard's file, written as training goes; a resumed run begins it anew, so no step is there twice."""

    def __init__(self, folder: Path, steps: Sequence[dict[str, Any]]) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = EventFileWriter(str(folder))
        for step in steps:
            self.add(step)

    def add(self, step: dict[str, Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=f"train/{tag}", simple_value=step[tag]) for tag in TAGS]
        self._writer.add_event(Event(step=step["step"], wall_time=step["time"], summary=Summary(value=values)))

    def close(self) -> None:
        self._writer.close()
