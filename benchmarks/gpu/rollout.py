"""Batched generation against batch 1 on a 7B VLM's real shape with random weights: what filling the batch is worth.

    python benchmarks/gpu/rollout.py [--quick]            one GPU
    python benchmarks/gpu/rollout.py --shape tiny         a CPU, to see that it runs

One image and one short question per request, a fixed number of new tokens, greedy, as a rollout step asks.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import shapes
import torch
from _report import exit_code, report


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shape", choices=sorted(shapes.SHAPES), default="llava-7b")
    options.add_argument("--quick", action="store_true", help="fewer requests")
    options.add_argument("--batch", type=int, default=0, help="rows of a full batch (default: 32, tiny 8)")
    options.add_argument("--requests", type=int, default=0, help="default: two full batches, quick one")
    options.add_argument("--new-tokens", type=int, default=16)
    options.add_argument("--frame", type=int, default=0, help="frame's side in pixels (default: 300, tiny 64)")
    options.add_argument("--folder", default="", help="where the random checkpoint is kept between runs")
    chosen = options.parse_args()
    folder = Path(chosen.folder or tempfile.mkdtemp(prefix="bench-gpu-rollout-"))
    try:
        result = measure(chosen, folder)
    finally:
        if not chosen.folder:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(exit_code(result))


def measure(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    real = chosen.shape != "tiny"
    base = folder / chosen.shape
    if not (base / "config.json").exists():
        shapes.SHAPES[chosen.shape](base)
    batch = chosen.batch or (32 if real else 8)
    count = chosen.requests or batch * (1 if chosen.quick else 2)
    side = chosen.frame or (300 if real else 64)
    requests = make_requests(count, side)
    sides = {size: generator(base, size, chosen.new_tokens, real=real) for size in (batch, 1)}
    rates: dict[int, list[float]] = {size: [] for size in sides}
    for _ in range(1 if chosen.quick else 2):
        for size, made in sides.items():
            some = requests if size > 1 else requests[: max(2, count // 4)]
            rates[size].append(speed(made, some))
    full, single = (statistics.median(rates[size]) for size in (batch, 1))
    memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    measures = {
        **shapes.versions(),
        "shape": chosen.shape,
        "batch": batch,
        "requests": count,
        "new_tokens": chosen.new_tokens,
        "batched_requests_per_s": round(full, 3),
        "single_requests_per_s": round(single, 3),
        "peak_memory_gb": round(memory, 2),
    }
    targets = {"batched_vs_single": ">=4"} if real else {"batched_vs_single": ">=0"}
    return report("gpu/rollout", measures=measures, ratios={"batched_vs_single": full / single}, targets=targets)


def make_requests(count: int, side: int) -> list[Any]:
    """Every request its own frame, so that no prefix is shared by accident."""
    from make_run import WORDS, DrawnFrames

    from selu_hpc.models.vlm import Request
    from selu_hpc.records import FrameRef, View

    frames = DrawnFrames(side, side)
    refs = [FrameRef(store="s", episode=n, step=0, view=View.FIRST_PERSON) for n in range(count)]
    prompts = [f"what colour is the {WORDS[n % len(WORDS)]}?" for n in range(count)]
    return [Request(prompt, (frames.read(ref),)) for prompt, ref in zip(prompts, refs, strict=True)]


_loaded: dict[Path, Any] = {}


def generator(base: Path, batch: int, new_tokens: int, *, real: bool) -> Any:
    """A generator of this batch size; the weights are in memory once."""
    from selu_hpc.config import ModelConfig
    from selu_hpc.models.generate import LocalGenerator
    from selu_hpc.models.vlm import load_backbone

    config = ModelConfig(
        base=str(base),
        dtype="bfloat16" if real else "float32",
        batch_size=batch,
        max_new_tokens=new_tokens,
        threads_per_process=8 if real else 1,
    )
    if base not in _loaded:
        model, processor = load_backbone(config)
        _loaded[base] = (model.to("cuda") if torch.cuda.is_available() else model, processor)
    return LocalGenerator(*_loaded[base], config)


def speed(made: Any, requests: list[Any]) -> float:
    """Requests a second, after one call that warms up."""
    made.generate(requests[: made.config.batch_size], adapter=None)
    made.forget()
    begin = time.perf_counter()
    made.generate(requests, adapter=None)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return len(requests) / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
