"""Imports VirtualHome's own packages, unmodified, on a Python and numpy they were not written for.

`virtualhome` 2.3.0 finds its modules through `sys.path[5]`, uses `collections.Iterable` and numpy's removed
`fromstring`. Each is put right for its module alone; nothing of the interpreter or of numpy is changed.
Owns nothing else: what is asked of the client is in envs/virtualhome/environment.py, rules are used in rules.py.
"""

from __future__ import annotations

import collections
import collections.abc
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from selu_hpc.errors import SimulatorError


class _Patched(ModuleType):
    """A module with some names replaced."""

    def __init__(self, original: ModuleType, **replaced: Any) -> None:
        super().__init__(original.__name__)
        self.__dict__.update(replaced, _original=original)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_original"], name)


def package_folder() -> Path:
    """Where VirtualHome's top-level modules `unity_simulator` and `evolving_graph` are."""
    found = importlib.util.find_spec("virtualhome")  # does not import it: that is what fails
    if found is None or found.origin is None:
        raise SimulatorError(
            "the package virtualhome is not installed; run `pip install --no-deps virtualhome==2.3.0` "
            "(without --no-deps it pulls in releases of 2019)"
        )
    return Path(found.origin).parent / "simulation"


def _on_path() -> None:
    folder = str(package_folder())
    if folder not in sys.path:
        sys.path.append(folder)


def client_module() -> ModuleType:
    """The package's `comm_unity`, with its two shims."""
    _on_path()
    from unity_simulator import comm_unity

    if not isinstance(comm_unity.np, _Patched):
        comm_unity.np = _Patched(np, fromstring=np.frombuffer)
        comm_unity.collections = _Patched(collections, Iterable=collections.abc.Iterable)
    return comm_unity  # type: ignore[no-any-return]


def evolving_graph() -> tuple[ModuleType, ModuleType, ModuleType]:
    """The package's modules of graphs, of scripts and of execution."""
    _on_path()
    from evolving_graph import environment, execution, scripts

    return environment, scripts, execution
