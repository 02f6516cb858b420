"""What every section of settings is: frozen, checked as a whole, unknown keys refused.

Does not own any setting: config.py has a run's, resources.py a stage's, site.py a cluster's.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from msgspec import Meta, Struct, convert
from msgspec import json as msgspec_json
from msgspec.structs import replace

Positive = Annotated[int, Meta(gt=0)]
Shards = Annotated[int, Meta(gt=0, le=10_000)]  # a plan and each look at its folders go through them one by one
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: frozen, unknown keys refused. Made of plain values by `of`, which checks them all; what a
    constructor or `but` is given is checked by mypy alone (give a float as 1.0, a 1 would sign otherwise), but for what
    belongs together.

    The docstrings below fields are the schema's descriptions (recipes/schema.py)."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if why := misfit(value := getattr(self, name)):
                raise ValueError(f"{name} is {value!a}, which {why}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The settings that YAML or JSON holds; `msgspec.ValidationError` says what is wrong first."""
        return convert(values, cls, strict=False)

    def but(self, **changes: Any) -> Self:
        """A copy with other settings."""
        return replace(self, **changes)

    def plain(self) -> dict[str, Any]:
        """What YAML and JSON hold; `of` brings it back."""
        values: dict[str, Any] = msgspec_json.decode(msgspec_json.encode(self))
        return values


def misfit(value: Any) -> str:
    """What keeps a value of the right type out of a run's files, which are JSON and UTF-8; empty where nothing does."""
    match value:
        case float() if not math.isfinite(value):
            return "is no finite number"
        case int() if value.bit_length() > 63:
            return "takes more than 64 bits"
        case str() if not value.isascii():
            return "" if value.encode(errors="ignore").decode() == value else "is not UTF-8"
        case tuple():
            return next(filter(None, map(misfit, value)), "")
        case dict():
            return misfit((*value, *value.values()))
    return ""
