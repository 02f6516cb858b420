"""Says everything that is wrong with settings: the key or value, where it came from, and what is allowed there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from enum import EnumType
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from selu_hpc.settings import Settings, misfit

SourceOf = Callable[[str], str]
"""Where the setting at a dotted path came from."""


def mistakes(kind: type[Settings], values: Mapping[str, Any], source_of: SourceOf, under: str = "") -> Iterator[str]:
    """Everything that is wrong with a section's keys and values one by one; msgspec itself stops at the first."""
    import difflib  # five milliseconds that only mistakes cost

    fields = {one.name: one for one in msgspec.structs.fields(kind)}
    for key in values:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            path = under + key
            yield f"{source_of(path)}: {path}: unknown key; {hint}allowed here: {', '.join(fields)}"
    for name, one in fields.items():
        if name in values:
            yield from _mistakes_of_value(one.type, values[name], source_of, under + name)
        elif one.required:
            yield f"{source_of(under + name)}: {under}{name}: found nothing; it has to be given"


def _mistakes_of_value(wanted: Any, value: Any, source_of: SourceOf, path: str) -> Iterator[str]:
    kind, inner = get_origin(wanted), get_args(wanted)
    if isinstance(value, Mapping) and isinstance(wanted, type) and issubclass(wanted, Settings):
        yield from mistakes(wanted, value, source_of, f"{path}.")
    elif isinstance(value, Mapping) and kind is dict:
        for key, one in value.items():
            yield from _mistakes_of_value(inner[0], key, source_of, f"{path}.{key}")
            yield from _mistakes_of_value(inner[1], one, source_of, f"{path}.{key}")
    elif isinstance(value, list) and kind is tuple:
        for number, one in enumerate(value):
            yield from _mistakes_of_value(inner[0], one, source_of, f"{path}.{number}")
    elif not is_allowed(value, wanted):
        found = _as_found(value).encode(errors="backslashreplace").decode()
        hint = _hint(value, wanted)
        yield f"{source_of(path)}: {path}: found {found[:200]}; allowed: {_in_words(wanted)}{hint}"


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
        return f"a list, each of it {_in_words(inner[0])}"
    if kind is UnionType:
        return " or ".join(_in_words(one) for one in inner)
    return {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}.get(
        wanted, "keys and values"
    )
