"""LoRA fine-tuning of a 7B VLM's real shape with random weights: tokens/s, MFU and memory.

    python benchmarks/gpu/finetune.py [--quick]                                       one GPU
    torchrun --nproc-per-node=8 benchmarks/gpu/finetune.py --zero 2                    a node
    python benchmarks/gpu/finetune.py --shape tiny                                     a CPU, to see that it runs

Runs the project's own training on frames drawn on the fly; the first steps are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import shapes
import torch
from _report import exit_code, report

WARM_UP = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shape", choices=sorted(shapes.SHAPES), default="llava-7b")
    options.add_argument("--quick", action="store_true", help="fewer steps")
    options.add_argument("--steps", type=int, default=0, help="optimiser steps (default: 20, quick 8)")
    options.add_argument("--micro-batch", type=int, default=0, help="default: 8 for llava-7b, 4 for tiny")
    options.add_argument("--accumulation", type=int, default=1)
    options.add_argument("--zero", type=int, default=2, choices=(0, 1, 2, 3))
    options.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    options.add_argument("--frame", type=int, default=0, help="frame's side in pixels (default: 300, tiny 64)")
    options.add_argument("--peak-tflops", type=float, default=0.0)
    options.add_argument("--folder", default="", help="where the random checkpoint is kept between runs")
    chosen = options.parse_args()
    folder = Path(chosen.folder or tempfile.mkdtemp(prefix="bench-gpu-finetune-"))
    try:
        result = measure(chosen, folder)
    finally:
        if not chosen.folder:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(exit_code(result) if result else 0)


def measure(chosen: argparse.Namespace, folder: Path) -> dict[str, Any] | None:
    from make_run import Trainer, make_run, tiny_config

    real = chosen.shape != "tiny"
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    base = folder / chosen.shape
    if rank == 0 and not (base / "config.json").exists():
        shapes.SHAPES[chosen.shape](base)
    micro = chosen.micro_batch or (8 if real else 4)
    batch = micro * chosen.accumulation * world
    steps = chosen.steps or (8 if chosen.quick else 20)
    side = chosen.frame or (300 if real else 64)
    config = tiny_config(
        base,
        **{
            "model.dtype": "bfloat16" if real else "float32",
            "model.lora_rank": 16,
            "model.threads_per_process": 8 if real else 1,
            "env.width": side,
            "env.height": side,
            "finetune.global_batch": batch,
            "finetune.micro_batch": micro,
            "finetune.zero_stage": chosen.zero,
            "finetune.gradient_checkpointing": chosen.checkpointing,
            "finetune.actor.epochs": 1,
            "finetune.actor.learning_rate": 2e-5,
        },
    )
    os.environ["SELU_FEATURE_CACHE"] = str(folder / "features")
    place = folder / f"run-{rank}" if world == 1 else folder / "run"
    if rank == 0:
        shutil.rmtree(place, ignore_errors=True)
        make_run(place, config=config, num_samples=batch * steps, num_episodes=8)
    from selu_hpc.rounds.rundir import RunDir

    wait_for(place / "rounds" / "01" / "gate" / "shard-0000" / "critic.jsonl")
    flops = count_flops(config)
    trainer = Trainer(RunDir(place), config)
    result = trainer()
    if rank:
        return None
    curve = json.loads((trainer.place().path / "curve.json").read_text())["steps"][WARM_UP:]
    seconds = statistics.median(step["seconds"] for step in curve)
    tokens = statistics.mean(step["tokens"] for step in curve)
    answers = statistics.mean(step["answer_tokens"] for step in curve)
    peak = shapes.peak_tflops(chosen.peak_tflops) * world
    achieved = flops.step(tokens=int(tokens), answer_tokens=int(answers)) / seconds / 1e12
    measures = {
        **shapes.versions(),
        "shape": chosen.shape,
        "ranks": world,
        "zero": result.summary["zero_stage"],
        "micro_batch": micro,
        "global_batch": batch,
        "checkpointing": chosen.checkpointing,
        "tokens_per_sample": round(tokens / batch, 1),
        "tokens_per_s": round(tokens / seconds, 1),
        "samples_per_s": round(batch / seconds, 2),
        "step_s": round(seconds, 4),
        "tflops": round(achieved, 2),
        "peak_tflops": round(peak, 2),
        "peak_memory_gb": result.summary["peak_memory_gb"],
        "data_wait_share": result.summary["data_wait_share"],
        "frozen_parameters": flops.frozen + flops.answers_only,
        "trained_parameters": flops.trained,
    }
    ratios = {"mfu": achieved / peak, "data_wait_share": result.summary["data_wait_share"]}
    targets = {"mfu": ">=0.45", "data_wait_share": "<=0.05"} if real else {"data_wait_share": "<=0.5"}
    return report("gpu/finetune", measures=measures, ratios=ratios, targets=targets)


def count_flops(config: Any) -> shapes.Flops:
    """Parameters counted on a model without memory."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    from selu_hpc.train import adapter, towers

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(config.model.base))
        model.requires_grad_(requires_grad=False)
        tuned = adapter.put_on(model, config.model, seed=0)
    towers.take_out(tuned, device=torch.device("meta"))
    return shapes.Flops.of(tuned)


def wait_for(file: Path) -> None:
    import time

    while not file.exists():
        time.sleep(0.2)


if __name__ == "__main__":
    main()
