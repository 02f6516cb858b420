"""Settings laid over one another, and where nested settings differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT = "a default"
"""The source of what nobody has set."""


@dataclass(slots=True)
class Layers:
    """Settings laid over one another, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    def lay(self, values: Mapping[str, Any], source: str, *, under: tuple[str, ...] = ()) -> None:
        for key, value in values.items():
            path = (*under, str(key))
            if isinstance(value, Mapping) and value:
                self.lay(value, source, under=path)
            else:
                self._put(path, value, source)

    def _put(self, path: tuple[str, ...], value: Any, source: str) -> None:
        at = self.values
        for depth, key in enumerate(path[:-1], start=1):
            if not isinstance(at.get(key), dict):
                at[key] = {}
                self.origin[".".join(path[:depth])] = source
            at = at[key]
        if isinstance(value, Mapping) and isinstance(at.get(path[-1]), dict):
            return  # `section: {}` lays nothing over what is there
        at[path[-1]] = value
        self.origin[".".join(path)] = source

    def source_of(self, path: str) -> str:
        while path:
            if path in self.origin:
                return self.origin[path]
            below = next((source for known, source in self.origin.items() if known.startswith(path + ".")), None)
            if below:
                return below
            path = path.rpartition(".")[0]
        return "the combination of settings"


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every dotted key in which two nested settings differ, with both values."""
    for key in sorted({*ours, *theirs}):
        path = f"{under}.{key}" if under else key
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, path)
        elif a != b:
            yield path, a, b
