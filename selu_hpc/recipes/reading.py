"""Reads YAML as a person who writes recipes means it, and says what is wrong with a file that is none."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from selu_hpc.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """A file's settings; raises ConfigError with the file's name."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # a date that is none, a list for a key
        tabs = "; indent with spaces" if "'\\t'" in str(error) else ""
        raise ConfigError(f"{path}: not valid YAML: {error}{tabs}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: found a {type(loaded).__name__} at the top; write `section:` and its keys below")
    return loaded


def read_value(text: str) -> Any:
    """A value as YAML, or the text itself where it is none or YAML would drop a part: a path may have ` #` in it."""
    try:
        if not text or _has_comment(text):
            return text
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return text


def _has_comment(text: str) -> bool:
    """Whether ` #` stands between what YAML reads, and not in quotes."""
    tokens = yaml.scan(text) if "#" in text else ()
    return any("#" in text[one.end_mark.index : other.start_mark.index] for one, other in pairwise(tokens))


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice and a value that holds itself, and takes for text what YAML 1.1 reads in base
    60 (`1:30:00`) or base 8 (`020`)."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # its stubs say nothing
        number = value.lstrip("+-") if tag.endswith((":int", ":float")) else ""
        if ":" in number or (number[:1] == "0" and number[1:2] not in ("", ".", "b", "x")):
            return str(self.DEFAULT_SCALAR_TAG)
        return tag

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.recursive_objects:
            raise yaml.constructor.ConstructorError(None, None, "a value refers to itself", node.start_mark)
        return super().construct_object(node, deep=True)  # whole at once: what is begun later can't be seen in itself

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
