"""How a training ends: with what it made, or stopped because it was asked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class Stopped(Exception):  # noqa: N818 - a request was granted, nothing failed
    """Training saved a checkpoint and ended because a signal asked for it."""


@dataclass(slots=True)
class Result:
    """What a training made; `content` is equal for equal work however it was interrupted."""

    content: str
    summary: dict[str, Any]
