"""The recipe's JSON schema, for editors: `python -m selu_hpc.recipes.schema` writes configs/schema.json anew."""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import json
from enum import EnumType
from typing import Any

import msgspec

from selu_hpc import config, resources
from selu_hpc.config import RunConfig
from selu_hpc.recipes import CONFIGS

OWNERS = config, resources
"""The modules whose sections a recipe has."""


def schema() -> dict[str, Any]:
    """The recipe's JSON schema, for editors; kept in configs/schema.json by a test."""
    sections = msgspec.json.schema(RunConfig)["$defs"]
    described = _descriptions()
    for name, section in sections.items():
        if isinstance(kind := next(getattr(one, name) for one in OWNERS if hasattr(one, name)), EnumType):
            choices: list[str] = list(kind)
            section |= {"type": "string", "enum": [str(one) for one in choices]}  # as written; msgspec sorts them
        if not section.get("required", True):
            del section["required"]
        for key, setting in section.get("properties", {}).items():
            if text := described.get(name, {}).get(key):
                setting["description"] = text
    run = sections.pop("RunConfig")
    extends = {"type": "string", "description": "A recipe this one is laid over."}
    return {**run, "properties": {"extends": extends, **run["properties"]}, "$defs": sections}


def _descriptions() -> dict[str, dict[str, str]]:
    """The docstring under each field of each section."""
    found: dict[str, dict[str, str]] = {}
    sections = (section for owner in OWNERS for section in ast.parse(inspect.getsource(owner)).body)
    for section in sections:
        if isinstance(section, ast.ClassDef):
            for field_, text in itertools.pairwise(section.body):
                if isinstance(field_, ast.AnnAssign) and isinstance(field_.target, ast.Name):
                    match text:
                        case ast.Expr(ast.Constant(str() as words)):
                            found.setdefault(section.name, {})[field_.target.id] = inspect.cleandoc(words)
    return found


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m selu_hpc.recipes.schema",
        description="Write configs/schema.json anew, for editors (make schema).",
    ).parse_args()
    write = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    (CONFIGS / "schema.json").write_text(write, encoding="utf-8")
