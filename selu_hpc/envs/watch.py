"""The watch over a simulator's process, from a thread beside the one that waits for the simulator's answer.

Owns the looking. Does not own how an end is told (each simulator's own) or what happens after a death (pool.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

LOOK_EVERY_S = 0.05


class Watched(Protocol):
    """Whoever holds a simulator's process."""

    @property
    def stopping(self) -> threading.Event:
        """Set once the process is to end."""
        ...

    def death(self) -> str:
        """How the process ended unasked, or nothing."""
        ...


def watch(process: Watched, on_death: Callable[[str], None]) -> None:
    """Call `on_death`, from another thread, when the process dies unasked."""

    def look() -> None:
        while not process.stopping.wait(LOOK_EVERY_S):
            how = process.death()
            if how:
                on_death(how)
                return

    threading.Thread(target=look, name="watch-simulator", daemon=True).start()
