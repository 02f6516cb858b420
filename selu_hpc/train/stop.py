"""SIGUSR2 and SIGTERM as a wish to stop, looked at between steps: a collective save cannot start in a handler."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGUSR2, signal.SIGTERM)


@dataclass(slots=True)
class StopWish:
    """Set once a signal came; only ever goes from unset to set."""

    signal_name: str = ""

    def __bool__(self) -> bool:
        return bool(self.signal_name)


@contextmanager
def listen() -> Iterator[StopWish]:
    """Handlers for the time of a training; the ones before it come back afterwards."""
    wish = StopWish()

    def handle(number: int, _: FrameType | None) -> None:
        wish.signal_name = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():
        yield wish  # Python delivers signals to the main thread only
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
