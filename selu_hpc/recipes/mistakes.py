"""Says everything that is wrong with settings: the key or value, where it came from, and what is allowed there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import EnumType
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from selu_hpc.settings import Settings, misfit

SourceOf = Callable[[str], str]
"""Where the setting at a dotted path came from."""
MOST_MEANT = 3
"""Settings of one name that are offered for an unknown key; a stage's, which every stage has, would be a list."""


def mistakes(kind: type[Settings], values: Mapping[str, Any], source_of: SourceOf) -> Iterator[str]:
    """Everything that is wrong with settings' keys and values one by one; msgspec itself stops at the first."""
    yield from _mistakes_of_section(kind, values, _File(kind, source_of), "")


@dataclass(frozen=True, slots=True)
class _File:
    """What all settings of a file are, and where each came from."""

    kind: type[Settings]
    source_of: SourceOf

    def mistake(self, path: str, what: str) -> str:
        return f"{self.source_of(path)}: {path}: {what}"


def _mistakes_of_section(kind: type[Settings], values: Mapping[str, Any], file: _File, under: str) -> Iterator[str]:
    fields = {one.name: one for one in msgspec.structs.fields(kind)}
    for key, value in values.items():
        if key not in fields:
            meant = _meant(key, value, fields, file.kind, under)
            hint = f"did you mean {' or '.join(map(repr, meant))}? " if meant else ""
            yield file.mistake(under + key, f"unknown key; {hint}allowed here: {', '.join(fields)}")
    for name, one in fields.items():
        if name in values:
            yield from _mistakes_of_value(one.type, values[name], file, under + name)
        elif one.required:
            yield file.mistake(under + name, "found nothing; it has to be given")


def _meant(key: str, value: Any, fields: Iterable[str], kind: type[Settings], under: str) -> list[str]:
    """What an unknown key may have been meant for: a setting of its last word elsewhere, or one here that is spelled
    much like it."""
    import difflib  # five milliseconds that only mistakes cost

    word = key
    while isinstance(value, Mapping) and len(value) == 1:
        [(word, value)] = value.items()
    elsewhere = [path for path in _settings(kind) if path.rpartition(".")[2] == word]
    close = difflib.get_close_matches(key, fields, n=1)
    in_it = [path for path in elsewhere if close and path == f"{under}{close[0]}.{word}"]
    return in_it or (elsewhere if 0 < len(elsewhere) <= MOST_MEANT else close)


def _settings(kind: type[Settings], under: str = "") -> Iterator[str]:
    """The dotted path of every setting that is no section."""
    for one in msgspec.structs.fields(kind):
        if isinstance(one.type, type) and issubclass(one.type, Settings):
            yield from _settings(one.type, f"{under}{one.name}.")
        else:
            yield under + one.name


def _mistakes_of_value(wanted: Any, value: Any, file: _File, path: str) -> Iterator[str]:
    kind, inner = get_origin(wanted), get_args(wanted)
    if isinstance(value, Mapping) and isinstance(wanted, type) and issubclass(wanted, Settings):
        yield from _mistakes_of_section(wanted, value, file, f"{path}.")
    elif isinstance(value, Mapping) and kind is dict:
        for key, one in value.items():
            yield from _mistakes_of_value(inner[0], key, file, f"{path}.{key}")
            yield from _mistakes_of_value(inner[1], one, file, f"{path}.{key}")
    elif isinstance(value, list) and kind is tuple:
        for number, one in enumerate(value):
            yield from _mistakes_of_value(inner[0], one, file, f"{path}.{number}")
    elif not is_allowed(value, wanted):
        found = _as_found(value).encode(errors="backslashreplace").decode()
        hint = _hint(value, wanted)
        yield file.mistake(path, f"found {found[:200]}; allowed: {_in_words(wanted)}{hint}")


def _as_found(value: Any) -> str:
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except TypeError:  # a date for a key
        return str(value)


def _hint(value: Any, wanted: Any) -> str:
    """What YAML made of the words that were meant, or what is wrong beside the type."""
    if isinstance(value, int | str) and (why := misfit(value)):
        return f"; it {why}"
    words: tuple[str, ...] = ()
    if isinstance(value, bool):
        words = ("on", "yes", "true") if value else ("off", "no", "false")
    elif isinstance(value, int | float | date):
        words = (str(value),)
    meant = next((word for word in words if is_allowed(word, wanted)), "")
    if not meant:
        return ""
    return f"; write {meant!r} with its quotes" if isinstance(wanted, EnumType) else "; put it in quotes"


def is_allowed(value: Any, wanted: Any) -> bool:
    """Whether a setting of that type takes the value."""
    try:
        made = msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError:
        return False
    return not misfit(made)


def _in_words(wanted: Any) -> str:
    """What may stand there, for one who writes YAML."""
    kind, inner = get_origin(wanted), get_args(wanted)
    if kind is Annotated:
        meta = inner[1]
        if meta.description:
            return str(meta.description)
        limits = ((">", meta.gt), (">=", meta.ge), ("<", meta.lt), ("<=", meta.le))
        bounds = " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        return f"{_in_words(inner[0])} {bounds}"
    if kind is Literal or isinstance(wanted, EnumType):
        *most, last = (repr(choice) for choice in inner or [member.value for member in list[Any](wanted)])
        return f"{', '.join(most)} or {last}"
    if kind is tuple:
        return f"a list such as [one, another], each of it {_in_words(inner[0])}"
    if kind is UnionType:
        return " or ".join(_in_words(one) for one in inner)
    return {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}.get(
        wanted, "keys and values"
    )
