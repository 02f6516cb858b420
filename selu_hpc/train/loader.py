"""Assembles batches in a thread, a few steps ahead, and counts how long training waited for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import torch

from selu_hpc.train.data import Batch, Dataset
from selu_hpc.train.order import Step

AHEAD = 4


class Loader:
    """`with Loader(...) as steps: for step, batches in steps: …`; an error in the thread is raised in the loop."""

    def __init__(self, dataset: Dataset, steps: Sequence[Step], *, rank: int, world: int, device: torch.device) -> None:
        self.waited_s = 0.0
        self._dataset = dataset
        self._steps = steps
        self._rank, self._world, self._device = rank, world, device
        self._queue: queue.Queue[tuple[Step, list[Batch]] | BaseException | None] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="batches", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[Step, list[Batch]]]:
        while True:
            start = time.perf_counter()
            item = self._queue.get()
            self.waited_s += time.perf_counter() - start
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _produce(self) -> None:
        try:
            for step in self._steps:
                share = step.share(self._rank, self._world)
                batches = [self._dataset.batch(rows, stand_in=step.rows[0]) for rows in share]
                if self._device.type == "cuda":
                    batches = [_pinned(batch) for batch in batches]
                if self._stop.is_set():
                    return
                self._queue.put((step, batches))
            self._queue.put(None)
        except BaseException as error:
            self._queue.put(error)


def _pinned(batch: Batch) -> Batch:
    inputs = {name: value.pin_memory() for name, value in batch.inputs.items()}
    return Batch(inputs, batch.answers_bl.pin_memory(), batch.targets_a.pin_memory(), batch.weight, batch.rows)
