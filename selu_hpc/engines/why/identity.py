"""Which settings an error blames that are part of what a run is: with others it is another run. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from selu_hpc.config import RunConfig


def blamed(config: RunConfig, error: str) -> list[str]:
    """The identity's settings whose path the error names: "widen env.verbs or raise env.horizon" names two."""
    return [path for path in _paths(config.identity) if re.search(rf"(?<![\w.]){re.escape(path)}(?![\w]|\.\w)", error)]


def another_run(settings: list[str]) -> str:
    """What to do about them."""
    named = " and ".join(settings)
    return (
        f"{named}: part of what this run is, so another value makes another run: give the command that began it with "
        f"`--set {settings[0]}=…` and another --run"
    )


def _paths(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield from _paths(value, f"{above}{name}.") if isinstance(value, Mapping) else [f"{above}{name}"]
