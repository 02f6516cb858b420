"""Supervised fine-tuning of one LoRA adapter under DeepSpeed: the same code on one CPU core and on 8×A100.

Owns the training loop and what surrounds it, read top to bottom in `train`. What it uses: ranks.py (who are we),
setup.py (base, adapter, pictures, engine), data.py and loader.py (batches), order.py (which samples when), towers.py,
features.py (frames encoded once), zero.py (DeepSpeed), checkpoint.py, curve.py, closing.py, result.py, stop.py.
Simplifications on purpose: one learning-rate shape (warm-up, cosine); one sample a row, no packing; no evaluation.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from selu_hpc.config import FinetuneConfig, ModelConfig, RoleTraining
from selu_hpc.errors import TrainingError
from selu_hpc.models.backbone import fingerprint
from selu_hpc.models.chat import Chat
from selu_hpc.records import derive_seed
from selu_hpc.train import adapter, checkpoint, closing, setup
from selu_hpc.train.checkpoint import Checkpoint
from selu_hpc.train.curve import Events, write_curve
from selu_hpc.train.data import Batch, Dataset, Frames, read_samples
from selu_hpc.train.loader import Loader
from selu_hpc.train.order import Step, plan_steps
from selu_hpc.train.ranks import Team
from selu_hpc.train.result import Result, Stopped
from selu_hpc.train.shortcuts import LastLayer
from selu_hpc.train.stop import StopWish
from selu_hpc.train.zero import Engine, deepspeed_config

logger = logging.getLogger(__name__)

EXPLODED_TIMES_CHANCE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: `Job(name="r01/actor", datasets=(…,), folder=shard.path, …)`.

    datasets: one, or both for SELU-One.  start: the adapter to continue, None for a fresh one.
    folder: where adapter/, curve.json, tensorboard/ and, while it runs, checkpoints/ go.
    temperature: of the distribution that is fitted; below 1 for an actor that will be sampled so.
    attempt: this attempt's own folder, where tensorboard/ lies while it runs; None where there is but one.
    """

    name: str
    datasets: tuple[Path, ...]
    folder: Path
    start: Path | None
    model: ModelConfig
    finetune: FinetuneConfig
    training: RoleTraining
    seed: int
    temperature: float = 1.0
    attempt: Path | None = None


@dataclass(slots=True)
class _Run:
    """A training under way on this rank. begun: the steps that were done when this attempt began."""

    job: Job
    team: Team
    engine: Engine
    dataset: Dataset
    steps: Sequence[Step]
    identity: str
    vocabulary: int
    last_layer: LastLayer | None
    begun: int
    curve: list[dict[str, Any]]
    saved_at: float = field(default_factory=time.monotonic)


def train(
    job: Job,
    team: Team,
    frames: Frames,
    wish: StopWish,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    mark: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Train to the end or until a signal; raises Stopped after a save, TrainingError when it must not go on.

    mark: called by the rank that leads when all is written and the checkpoints are still there; not when another
    attempt has marked the folder meanwhile, for then everything stays as it is.
    """
    begin = time.monotonic()
    settings = job.finetune
    size = setup.check(job.model, settings, team)
    samples = read_samples(job.datasets)
    base, model, processor = setup.load(job.model, seed=job.seed)
    start = None if job.start is None else adapter.read(job.start, model, base)
    chat = Chat(processor)
    pictures = setup.look((ref for _, sample in samples for ref in sample.images), model, chat, team, frames)
    dataset = Dataset(samples, pictures, chat, model.config)
    steps = plan_steps(
        [row.length for row in dataset.rows],
        epochs=job.training.epochs,
        global_batch=settings.global_batch,
        micro_batch=size,
        seed=job.seed,
    )
    config = deepspeed_config(
        settings, dtype=job.model.dtype, world=team.world, micro_batch=size, learning_rate=job.training.learning_rate
    )
    identity = _identity(job, base, config)
    saved = checkpoint.agreed(job.folder / closing.CHECKPOINTS, identity, team)
    begun = saved.step if saved else 0
    setup.merge_where_equal(model, dtype=job.model.dtype, dropout=job.model.lora_dropout, deepspeed=config)
    last_layer = LastLayer.of(model)
    engine = setup.start_engine(model, settings, config, state=saved.state if saved else None, start=start)
    vocabulary = int(model.get_base_model().config.get_text_config().vocab_size)
    curve = saved.curve if saved else []
    run = _Run(job, team, engine, dataset, steps, identity, vocabulary, last_layer, begun, curve)
    if team.leads:
        resumed = f"resumed after step {saved.step}, " if saved else ""
        logger.info(
            "%s: %s%s samples, %s steps of %s, %s ranks, ZeRO %s, %s frames encoded, ready after %.1f s",
            job.name, resumed, len(samples), len(steps), settings.global_batch, team.world, engine.stage,
            pictures.num_encoded, time.monotonic() - begin,
        )  # fmt: skip
        if (longest := max(len(row.answer_ids) for row in dataset.rows)) > job.model.max_new_tokens:
            logger.warning(
                "%s: teaches answers of up to %s tokens, model.max_new_tokens lets it say %s: set that to %s",
                job.name, longest, job.model.max_new_tokens, longest,
            )  # fmt: skip
    try:
        loop_s, waited_s = _loop(run, steps[begun:], wish, on_step)
        weights = engine.weights()
    finally:
        engine.close()
    result = Result("", _summary(run, loop_s, waited_s, pictures.num_encoded, time.monotonic() - begin))

    def write(own: Path) -> str:
        write_curve(own / "curve.json", run.curve, result.summary)
        return adapter.write(own / "adapter", model, weights, base=job.model.base, base_folder=base)

    if team.leads:
        closing.finish(job.folder, result, write, mark, attempt=job.attempt)
    team.barrier()
    return result


def learning_rate(step: int, *, total: int, peak: float, warmup_fraction: float) -> float:
    """Linear rise over the first share of steps, then half a cosine down to nothing; `step` counts from 1."""
    warmup = math.ceil(total * warmup_fraction)
    if step <= warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - 1 - warmup) / max(1, total - warmup)))


def _loop(run: _Run, steps: Sequence[Step], wish: StopWish, on_step: Callable[[int, int], None]) -> tuple[float, float]:
    team = run.team
    events = Events((run.job.attempt or run.job.folder) / closing.TENSORBOARD, run.curve) if team.leads else None
    begin = time.perf_counter()
    try:
        with Loader(run.dataset, steps, rank=team.rank, world=team.world, device=team.device) as loader:
            for step, batches in loader:
                _step(run, step, batches, wish)
                if events is not None:
                    events.add(run.curve[-1])
                    on_step(step.number, len(run.steps))
            return time.perf_counter() - begin, loader.waited_s
    finally:
        if events is not None:
            events.close()


def _step(run: _Run, step: Step, batches: Sequence[Batch], wish: StopWish) -> None:
    """Forward and backward, agree, save if due, update.

    Saving comes before the update, as the state after the last step: this step's loss has just shown that it is good.
    An attempt's first step is always made, whatever came while it loaded, so that each goes on and it ends some day.
    """
    begin = time.perf_counter()
    job, team, engine = run.job, run.team, run.engine
    total = len(run.steps)
    rate = learning_rate(
        step.number, total=total, peak=job.training.learning_rate, warmup_fraction=job.finetune.warmup_fraction
    )
    engine.set_learning_rate(rate)
    answer_tokens = run.dataset.num_answer_tokens(step.rows)
    summed = _backward(run, step, batches, scale=team.world * len(batches) / answer_tokens)
    due = time.monotonic() - run.saved_at > job.finetune.checkpoint_minutes * 60
    everywhere, stops, saves = team.total(summed, bool(wish), team.leads and due)
    loss = everywhere / answer_tokens
    _check_loss(run, step, batches, loss, summed)
    if (stops or saves) and step.number - 1 > run.begun:
        _save(run, step.number - 1, stops=bool(stops))
        if stops:
            raise Stopped(f"{job.name}: stopped after step {step.number - 1} of {total}")
    norm = engine.step()
    _check_norm(run, step, norm)
    seconds = time.perf_counter() - begin
    tokens = run.dataset.num_tokens(step.rows)
    run.curve.append(
        {
            "step": step.number,
            "epoch": step.epoch,
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens": tokens,
            "answer_tokens": answer_tokens,
            "seconds": round(seconds, 4),
            "tokens_per_s": round(tokens / seconds, 1),
            "time": round(time.time(), 2),
        }
    )


def _backward(run: _Run, step: Step, batches: Sequence[Batch], *, scale: float) -> float:
    """Accumulate this rank's gradients; returns its summed loss. DeepSpeed averages over ranks and micro-batches."""
    summed = 0.0
    for number, batch in enumerate(batches):
        torch.manual_seed(derive_seed(run.job.seed, "dropout", step.number, run.team.rank + number * run.team.world))
        loss = _loss(run, batch) * batch.weight
        run.engine.engine.backward(loss * scale)
        summed += loss.item()
        if number < len(batches) - 1:
            run.engine.engine.step()  # counts the micro-batch; no update yet
    return summed


def _loss(run: _Run, batch: Batch) -> torch.Tensor:
    """Summed over the answers' tokens; logits are made for those only."""
    device = run.team.device
    inputs = {name: value.to(device, non_blocking=True) for name, value in batch.inputs.items()}
    keep = batch.answers_bl.to(device, non_blocking=True)
    if run.last_layer is not None:
        run.last_layer.keep(keep)
    logits_av = run.engine.engine(**inputs, logits_to_keep=keep, use_cache=False).logits
    return cross_entropy(
        logits_av.float() / run.job.temperature, batch.targets_a.to(device, non_blocking=True), reduction="sum"
    )


def _check_loss(run: _Run, step: Step, batches: Sequence[Batch], mean: float, mine: float) -> None:
    limit = EXPLODED_TIMES_CHANCE * math.log(run.vocabulary) / run.job.temperature
    if math.isfinite(mean) and mean <= limit:
        return
    bad = [] if math.isfinite(mine) and math.isfinite(mean) else [b.rows for b in batches if not math.isfinite(mine)]
    rows = sorted(row for rank in run.team.gather(bad) for part in rank for row in part) or sorted(step.rows)
    raise TrainingError(
        f"{run.job.name}: the loss of step {step.number} (epoch {step.epoch}) is {mean:.4g}, {_limit(mean, limit)}; "
        f"the batch holds {_names(run, rows)}. {_advice(run)}"
    )


def _check_norm(run: _Run, step: Step, norm: float) -> None:
    if math.isfinite(norm):
        return
    raise TrainingError(
        f"{run.job.name}: the gradient of step {step.number} (epoch {step.epoch}) has norm {norm}; "
        f"the batch holds {_names(run, sorted(step.rows))}. {_advice(run)}"
    )


def _limit(mean: float, limit: float) -> str:
    return (
        f"above {limit:.3g}, {EXPLODED_TIMES_CHANCE:g} times that of guessing" if math.isfinite(mean) else "no number"
    )


def _names(run: _Run, rows: Sequence[int]) -> str:
    names = [run.dataset.rows[row].name for row in rows]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _advice(run: _Run) -> str:
    kept = sorted((run.job.folder / closing.CHECKPOINTS).glob("step-*"))
    where = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was due yet"
    return f"Lower finetune's learning_rate or max_grad_norm, or remove the samples; {where}"


def _save(run: _Run, done: int, *, stops: bool) -> None:
    state = run.engine.state()
    if run.team.leads:
        save = checkpoint.save if stops else checkpoint.save_if_possible
        place = save(run.job.folder / closing.CHECKPOINTS, Checkpoint(done, run.identity, state, run.curve))
        if place is not None:
            logger.info("%s: step %s of %s saved in %s", run.job.name, done, len(run.steps), place)
    run.team.barrier()
    run.saved_at = time.monotonic()


def _identity(job: Job, base: Path, config: dict[str, Any]) -> str:
    """What a checkpoint belongs to; ranks, stage and scheduling are not in it."""
    hashed = hashlib.blake2b(digest_size=16)
    for file in job.datasets:
        hashed.update(file.read_bytes())
    if job.start is not None:
        hashed.update((job.start / adapter.WEIGHTS).read_bytes())
    lora = {name: value for name, value in job.model.plain().items() if name.startswith("lora")}
    told = [
        fingerprint(base),
        job.model.dtype,
        lora,
        job.training.plain(),
        config["optimizer"],
        job.finetune.global_batch,
        job.finetune.warmup_fraction,
        job.finetune.max_grad_norm,
        job.seed,
        *([job.temperature] if job.temperature != 1 else []),
    ]
    hashed.update(json.dumps(told, sort_keys=True).encode())
    return hashed.hexdigest()


def _summary(run: _Run, loop_s: float, waited_s: float, num_encoded: int, seconds: float) -> dict[str, Any]:
    """For the marker, status and reports; peak memory is the largest rank's, waiting the worst rank's."""
    if run.team.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(run.team.device) / 1e9
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    ranks = run.team.gather((peak, waited_s / loop_s if loop_s else 0.0))
    trained_s = sum(step["seconds"] for step in run.curve)
    losses = [step["loss"] for step in run.curve]
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "samples": len(run.dataset.rows),
        "steps": len(run.steps),
        "loss_first": round(losses[0], 6),
        "loss_last": round(sum(tail) / len(tail), 6),
        "tokens_per_s": round(sum(step["tokens"] for step in run.curve) / trained_s, 1),
        "data_wait_share": round(max(wait for _, wait in ranks), 4),
        "peak_memory_gb": round(max(peak for peak, _ in ranks), 3),
        "frames_encoded": num_encoded,
        "num_ranks": run.team.world,
        "zero_stage": run.engine.stage,
        "seconds": round(seconds, 2),
    }
