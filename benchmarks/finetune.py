"""Fine-tuning: ours against transformers' Trainer + peft, same samples, order, model, batch and rates.

    python benchmarks/finetune.py [--quick] [--base pocket]

Both sides train the same LoRA on the same batches for three epochs on one thread, in turn, twice. Steady state is
epochs two and three: before the first ours encodes frames; `overall` counts all of it. CPU time is given beside the
clock because it stays true on a machine that others use too.
The Trainer's side is what its documentation shows: processor in the collator, model's own loss, no reporting.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _report import exit_code, report, run

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "train")]
Moment = tuple[float, float]
EPOCHS = 3
BATCH = 32
RATE = 1e-3
TARGETS = {
    "ours_vs_trainer": ">=1.5",
    "ours_vs_trainer_cpu": ">=1.5",
    "data_wait_share": "<=0.05",
    "loss_curve_difference": "<=0.02",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer samples, one turn; under 50 seconds")
    options.add_argument("--base", default="pocket", help="model.base")
    chosen = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    num_samples, turns = (96, 1) if chosen.quick else (384, 2)
    with tempfile.TemporaryDirectory(prefix="bench-finetune-") as folder:
        os.environ["SELU_FEATURE_CACHE"] = str(Path(folder) / "features")
        result = measure(Path(folder), chosen.base, num_samples, turns)
    sys.exit(exit_code(result))


def measure(folder: Path, base: str, num_samples: int, turns: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    run, config = prepare(folder / "run", base, num_samples)
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for turn in range(turns):
        ours.append(train_ours(run, config))
        theirs.append(train_theirs(run, config))
        print(
            f"turn {turn + 1}: ours {ours[-1]['steady']:.1f}, Trainer {theirs[-1]['steady']:.1f} samples/s",
            file=sys.stderr,
        )
    apart = [abs(a - b) / b for a, b in zip(ours[0]["losses"], theirs[0]["losses"], strict=True)]
    measures = {
        "samples": num_samples,
        "epochs": EPOCHS,
        "batch": BATCH,
        "base": base,
        "ours_samples_per_s": best(ours, "steady"),
        "trainer_samples_per_s": best(theirs, "steady"),
        "ours_samples_per_cpu_s": best(ours, "steady_cpu"),
        "trainer_samples_per_cpu_s": best(theirs, "steady_cpu"),
        "ours_samples_per_s_overall": best(ours, "overall"),
        "trainer_samples_per_s_overall": best(theirs, "overall"),
        "ours_tokens_per_s": round(max(side["tokens_per_s"] for side in ours), 1),
        "ours_loss_last": round(ours[0]["losses"][-1], 4),
        "trainer_loss_last": round(theirs[0]["losses"][-1], 4),
    }
    ratios = {
        "ours_vs_trainer": round(best(ours, "steady") / best(theirs, "steady"), 3),
        "ours_vs_trainer_cpu": round(best(ours, "steady_cpu") / best(theirs, "steady_cpu"), 3),
        "ours_vs_trainer_overall": round(best(ours, "overall") / best(theirs, "overall"), 3),
        "data_wait_share": round(statistics.median(side["data_wait_share"] for side in ours), 4),
        "loss_curve_difference": round(max(apart), 5),
    }
    return report("finetune", measures=measures, ratios=ratios, targets=TARGETS)


def best(sides: list[dict[str, Any]], key: str) -> float:
    return round(max(side[key] for side in sides), 2)


def prepare(folder: Path, base: str, num_samples: int) -> tuple[Any, Any]:
    from make_run import make_run, tiny_config, write_episodes

    config = tiny_config(
        Path(base),
        **{
            "model.base": base,
            "model.lora_rank": 16,
            "env.width": 96,
            "env.height": 96,
            "finetune.global_batch": BATCH,
            "finetune.micro_batch": BATCH,
            "finetune.actor.learning_rate": RATE,
            "finetune.actor.epochs": EPOCHS,
        },
    )
    num_episodes = max(4, num_samples // 12)
    run = make_run(folder, config=config, num_samples=num_samples, num_episodes=num_episodes)
    write_episodes(run, config, num_episodes=num_episodes)
    return run, config


def train_ours(run: Any, config: Any) -> dict[str, Any]:
    from make_run import Trainer

    from selu_hpc.store.frames import FrameSource

    side = Trainer(run, config)
    shutil.rmtree(side.place().path, ignore_errors=True)
    shutil.rmtree(os.environ["SELU_FEATURE_CACHE"], ignore_errors=True)
    times: list[Moment] = []
    with quiet():
        begin = now()
        result = side(frames=FrameSource(run.path), on_step=lambda done, total: times.append(now()))
    curve = json.loads((side.place().path / "curve.json").read_text())
    return {
        "losses": [step["loss"] for step in curve["steps"]],
        "data_wait_share": result.summary["data_wait_share"],
        "tokens_per_s": result.summary["tokens_per_s"],
        **speeds(times, result.summary["samples"], begin),
    }


def train_theirs(run: Any, config: Any) -> dict[str, Any]:
    """The documented way, on our order of samples and our learning rates, so that the curves can be compared."""
    import torch
    from make_run import Trainer as Ours
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from selu_hpc.models.chat import Chat
    from selu_hpc.models.vlm import load_backbone
    from selu_hpc.records import derive_seed
    from selu_hpc.store.frames import FrameSource
    from selu_hpc.train import adapter, order, sft
    from selu_hpc.train.data import read_samples

    job = Ours(run, config).job()
    begin = now()
    backbone, processor = load_backbone(config.model)
    model = adapter.put_on(backbone, config.model, seed=derive_seed(job.seed, "lora"))
    samples = [sample for _, sample in read_samples(job.datasets)]
    frames = FrameSource(run.path)
    chat = Chat(processor)
    examples = [
        (chat._render(s.prompt, len(s.images), answer=s.answer), [frames.read(ref) for ref in s.images], s.answer)
        for s in samples
    ]
    blanks = [[frame * 0 for frame in images] for _, images, _ in examples]
    rows = [chat.encode(s.prompt, blank, answer=s.answer) for s, blank in zip(samples, blanks, strict=True)]
    lengths = [len(row.ids) for row in rows]
    steps = order.plan_steps(lengths, epochs=EPOCHS, global_batch=BATCH, micro_batch=BATCH, seed=job.seed)
    processor.tokenizer.padding_side = "right"

    def collate(batch: list[int]) -> dict[str, Any]:
        texts, images = [examples[row][0] for row in batch], [examples[row][1] for row in batch]
        inputs = processor(text=texts, images=images, padding=True, add_special_tokens=False, return_tensors="pt")
        labels = torch.full_like(inputs["input_ids"], -100)
        for at, row in enumerate(batch):
            start, end = len(rows[row].prompt_ids), lengths[row]
            labels[at, start:end] = inputs["input_ids"][at, start:end]
        return {**inputs, "labels": labels}

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    times: list[Moment] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(now())

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda done: sft.learning_rate(min(done + 1, len(steps)), total=len(steps), peak=1.0, warmup_fraction=0.05),
    )
    arguments = TrainingArguments(
        output_dir=str(run.path / "trainer"),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,  # the dataset below is the three epochs in our order
        max_grad_norm=config.finetune.max_grad_norm,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    ordered = [row for step in steps for row in step.rows]
    trainer = InOrder(
        model=model,
        args=arguments,
        train_dataset=ordered,
        data_collator=collate,
        optimizers=(optimizer, scheduler),
        callbacks=[Clock()],
    )
    with quiet():
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"losses": [float(loss) for loss in losses], **speeds(times, len(samples), begin)}


def now() -> Moment:
    return time.perf_counter(), time.process_time()


def speeds(times: list[Moment], num_samples: int, begin: Moment) -> dict[str, float]:
    """Samples a second in epochs two and three by the clock and by CPU time, and over everything with loading."""
    first = times[len(times) // EPOCHS - 1]
    steady = num_samples * (EPOCHS - 1)
    return {
        "steady": steady / (times[-1][0] - first[0]),
        "steady_cpu": steady / (times[-1][1] - first[1]),
        "overall": num_samples * EPOCHS / (times[-1][0] - begin[0]),
    }


@contextlib.contextmanager
def quiet() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


if __name__ == "__main__":
    run(main)
