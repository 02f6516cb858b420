"""`UnityCommunication` and its exceptions, from VirtualHome's own package, unmodified; imported when first asked for.

The shims that an old package needs on a new Python are in sim/virtualhome/package.py.
"""

from __future__ import annotations

from typing import Any

from selu_hpc.sim.virtualhome.package import client_module

_NAMES = ("UnityCommunication", "UnityEngineException", "UnityCommunicationException")


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(client_module(), name)
    raise AttributeError(f"{__name__} has no {name}; it has {', '.join(_NAMES)}")
