"""Names the commands, for one who types `python -m selu_hpc`; each is a module of its own."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from selu_hpc.terminal import enter

COMMANDS = ("submit", "status", "explain", "cancel", "report", "replay", "evaluate", "images", "doctor", "selftest")
EXIT_USAGE = 2


def main() -> int:
    lines = [f"  python -m selu_hpc.{name:9}  {_purpose(name)}" for name in COMMANDS]
    sys.stdout.write("\n".join(["give a command; each says more by --help:", *lines, ""]))
    return EXIT_USAGE


def _purpose(name: str) -> str:
    """The first sentence of the command's own docstring, which it begins with; read, for loading all takes a second."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    told = re.match(r"[^:.?]*[?]?", ast.get_docstring(ast.parse(source)) or "")
    return told[0] if told else ""


if __name__ == "__main__":
    enter(main)
