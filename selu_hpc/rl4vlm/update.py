"""One update: the round's turns are weighed by the policy that gave them, judged, and learned from.

Read top to bottom in `update`. Every answer is weighed anew before the first step, by the very code that trains, so
that ratios begin at 1 whatever the rollouts generated with; that pass gives the values as well, so rollouts need no
value head. Adam's moments go on from the round before. An update that is stopped begins again: it is short, and its
bytes are the same.
Owns the order of things. Does not own the loss (ppo.py), batches (rows.py) or DeepSpeed (train/zero.py).

Shape legend: T turns of the round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loguru import logger

from selu_hpc.config import FinetuneConfig, GameConfig, ModelConfig
from selu_hpc.errors import TrainingError
from selu_hpc.models.chat import Chat
from selu_hpc.records import derive_seed
from selu_hpc.rl4vlm import gae, ppo
from selu_hpc.rl4vlm.order import plan_steps
from selu_hpc.rl4vlm.policy import Policy
from selu_hpc.rl4vlm.rows import TurnBatch, TurnRows
from selu_hpc.rl4vlm.turns import Turn, read_turns
from selu_hpc.train import adapter, checkpoint, setup
from selu_hpc.train.checkpoint import Checkpoint
from selu_hpc.train.curve import Events, write_curve
from selu_hpc.train.data import Frames
from selu_hpc.train.order import Step
from selu_hpc.train.ranks import Team
from selu_hpc.train.result import Result, Stopped
from selu_hpc.train.stop import StopWish
from selu_hpc.train.zero import Engine, TrainState, deepspeed_config

STATE = "state"
"""Folder beside the adapter: weights, value head and Adam's moments, from which the next round goes on."""
OWNER = "rl4vlm"
PREFIX = "model."
"""The adapter's matrices inside the policy; the head's are called head.…"""
ADAM_EPS = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One update: `Job(name="r03/actor", turns=…, folder=shard.path, start=…/adapter, …)`.

    start: the adapter of the round before.  state: that round's `state` folder, None after the warm-up.
    """

    name: str
    round_id: int
    turns: Path
    folder: Path
    start: Path
    state: Path | None
    model: ModelConfig
    finetune: FinetuneConfig
    game: GameConfig
    seed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What the update compares with: each turn's log-probability and value when it was given, and how good it was."""

    logprobs_t: torch.Tensor
    values_t: torch.Tensor
    advantages_t: torch.Tensor
    returns_t: torch.Tensor


def update(
    job: Job, team: Team, frames: Frames, wish: StopWish, on_step: Callable[[int, int], None] = lambda done, total: None
) -> Result:
    """Weigh, judge, learn, write; raises Stopped on a signal and TrainingError when it must not go on."""
    begin = time.monotonic()
    settings = job.finetune
    size = setup.check(job.model, settings, team)
    turns = read_turns(job.turns)
    base, model, processor = setup.load(job.model, seed=job.seed)
    _without_dropout(model)
    start = {PREFIX + name: value for name, value in adapter.read(job.start, model, base).items()}
    own, reread = _read(job, turns, model, Chat(processor), team, frames)
    policy = Policy(model, temperature=job.game.temperature, seed=derive_seed(job.seed, "head"))
    steps = plan_steps(
        reread.lengths,
        epochs=job.game.epochs,
        batch=settings.global_batch,
        micro_batch=size,
        world=team.world,
        seed=derive_seed(job.seed, "order"),
    )
    settings = settings.model_copy(update={"global_batch": size * len(steps[0].micro_batches)})
    rate = ppo.learning_rate(job.round_id, job.game)
    config = deepspeed_config(settings, dtype=job.model.dtype, world=team.world, micro_batch=size, learning_rate=rate)
    config["optimizer"]["params"]["eps"] = ADAM_EPS
    setup.merge_where_equal(model, dtype=job.model.dtype, dropout=0.0, deepspeed=config)
    engine = _start_engine(job, policy, config, start)
    try:
        judged = _judge(job, team, engine, own, size)
        engine.set_learning_rate(rate)
        curve = list(_learn(job, team, engine, reread, judged, steps, wish, on_step))
        state = engine.state()
    finally:
        engine.close()
    summary = _summary(job, own, judged, curve, seconds=time.monotonic() - begin)
    content = ""
    if team.leads:
        content = _write(job, model, state, base, curve, summary)
        logger.info("{}: {}", job.name, summary)
    team.barrier()
    return Result(content, summary, (STATE,))


def _without_dropout(model: Any) -> None:
    """An answer is weighed by the policy that gave it, which has none; with dropout ratios would not begin at 1."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def _read(
    job: Job, turns: Sequence[Turn], model: Any, chat: Chat, team: Team, frames: Frames
) -> tuple[TurnRows, TurnRows]:
    """The turns under their own prompts, and under the prompts that the update weighs them with."""
    pictures = setup.look((turn.image for turn in turns), model, chat, team, frames)
    weight = job.game.thought_weight
    own = TurnRows(turns, pictures, chat, model.config, thought_weight=weight)
    if job.game.reread == "own_prompt":
        return own, own
    return own, TurnRows(turns, pictures, chat, model.config, thought_weight=weight, first_prompt=True)


def _start_engine(job: Job, policy: Policy, config: dict[str, Any], start: dict[str, torch.Tensor]) -> Engine:
    """Weights of the round before, and its moments where there are any; the warm-up trained no head."""
    before = None if job.state is None else checkpoint.newest(job.state, OWNER)
    if job.state is not None and before is None:
        raise TrainingError(f"{job.state}: no whole state to go on from; remove that round's marker and submit again")
    fresh = {name: param.detach().clone() for name, param in adapter.trainable(policy).items()}
    state = before.state if before else None
    return setup.start_engine(policy, job.finetune, config, state=state, start={**fresh, **start})


@torch.no_grad()
def _judge(job: Job, team: Team, engine: Engine, rows: TurnRows, size: int) -> Judged:
    """Weigh every turn under its own prompt, each rank its share, and tell how good it was."""
    engine.engine.eval()
    mine: dict[int, tuple[float, float]] = {}
    cut = [tuple(range(at, min(at + size, len(rows.turns)))) for at in range(0, len(rows.turns), size)]
    most = -(-len(cut) // team.world)
    for number in range(most):  # every rank as often, for ZeRO 3 gathers together
        part = cut[number * team.world + team.rank] if number * team.world + team.rank < len(cut) else ()
        batch = rows.batch(part, stand_in=0)
        logprobs_b, values_b = _forward(engine, batch.to(team.device))
        mine |= dict(zip(part, zip(logprobs_b.tolist(), values_b.tolist(), strict=True), strict=False))
    engine.engine.train()
    found = {row: pair for part in team.gather(mine) for row, pair in part.items()}
    logprobs, values = np.array([found[row] for row in range(len(rows.turns))]).T
    rewards = np.array([turn.reward for turn in rows.turns])
    last = np.array([turn.last for turn in rows.turns])
    gained = gae.advantages(rewards, values, last, discount=job.game.discount, gae_lambda=job.game.gae_lambda)
    tensors = (logprobs, values, gae.normalised(gained), gained + values)
    return Judged(*(torch.tensor(one, dtype=torch.float32, device=team.device) for one in tensors))


def _learn(
    job: Job,
    team: Team,
    engine: Engine,
    rows: TurnRows,
    judged: Judged,
    steps: tuple[Step, ...],
    wish: StopWish,
    on_step: Callable[[int, int], None],
) -> Iterator[dict[str, Any]]:
    events = Events(job.folder / "tensorboard", []) if team.leads else None
    try:
        for step in steps:
            begin = time.perf_counter()
            sums = _backward(job, team, engine, rows, judged, step)
            *totals, stops = team.total(*sums, bool(wish))
            if stops:
                raise Stopped(f"{job.name}: stopped after step {step.number - 1} of {len(steps)}")
            names = ("loss", "policy_loss", "value_loss", "ratio", "clipped")
            figures = {name: value / len(step.rows) for name, value in zip(names, totals, strict=True)}
            norm = engine.step()
            if not np.isfinite([*figures.values(), norm]).all():
                raise TrainingError(
                    f"{job.name}: step {step.number} gave {figures} and a gradient of norm {norm}; lower "
                    "game.learning_rate or finetune.max_grad_norm"
                )
            seconds = time.perf_counter() - begin
            tokens = sum(rows.length(row) for row in step.rows)
            record = {
                "step": step.number,
                "epoch": step.epoch,
                **figures,
                "learning_rate": engine.engine.optimizer.param_groups[0]["lr"],
                "gradient_norm": norm,
                "tokens": tokens,
                "seconds": round(seconds, 4),
                "tokens_per_s": round(tokens / seconds, 1),
                "time": round(time.time(), 2),
            }
            if events is not None:
                events.add(record)
                on_step(step.number, len(steps))
            yield record
    finally:
        if events is not None:
            events.close()


def _backward(job: Job, team: Team, engine: Engine, rows: TurnRows, judged: Judged, step: Step) -> list[float]:
    """Accumulate this rank's gradients; returns its sums. DeepSpeed averages over ranks and micro-batches."""
    share = step.share(team.rank, team.world)
    scale = team.world * len(share) / len(step.rows)
    sums = np.zeros(5)
    for number, part in enumerate(share):
        batch = rows.batch(part, stand_in=step.rows[0]).to(team.device)
        logprobs_b, values_b = _forward(engine, batch)
        at = torch.tensor(batch.rows, device=team.device)
        found = ppo.losses(
            logprobs_b,
            values_b,
            old_logprobs_b=judged.logprobs_t[at],
            old_values_b=judged.values_t[at],
            advantages_b=judged.advantages_t[at],
            returns_b=judged.returns_t[at],
            settings=job.game,
        )
        engine.engine.backward(found.total * (batch.weight * scale))
        figures = (found.total.detach(), found.policy, found.value, found.ratio, found.clipped)
        sums += batch.weight * np.array([float(one) for one in figures])
        if number < len(share) - 1:
            engine.engine.step()  # counts the micro-batch; no update yet
    return [float(one) for one in sums]


def _forward(engine: Engine, batch: TurnBatch) -> tuple[torch.Tensor, torch.Tensor]:
    found: tuple[torch.Tensor, torch.Tensor] = engine.engine(
        batch.inputs,
        answers_bl=batch.answers_bl,
        targets_a=batch.targets_a,
        weights_a=batch.weights_a,
        asked_b=batch.asked_b,
    )
    return found


def _write(
    job: Job, model: Any, state: TrainState, base: Path, curve: list[dict[str, Any]], summary: dict[str, Any]
) -> str:
    """adapter/ for who generates, state/ for the next update; returns the digest of both."""
    lora = {name.removeprefix(PREFIX): value for name, value in state.weights.items() if name.startswith(PREFIX)}
    head = {name: value for name, value in state.weights.items() if not name.startswith(PREFIX)}
    content = adapter.write(job.folder / "adapter", model, lora, base=job.model.base, base_folder=base)
    checkpoint.remove_all(job.folder / STATE)
    checkpoint.save(job.folder / STATE, Checkpoint(job.round_id, OWNER, state, []))
    write_curve(job.folder / "curve.json", curve, summary)
    return f"{content}-{adapter.digest(head, model.peft_config['default'])}"


def _summary(
    job: Job, rows: TurnRows, judged: Judged, curve: list[dict[str, Any]], *, seconds: float
) -> dict[str, Any]:
    error = judged.returns_t - judged.values_t
    spread = float(judged.returns_t.var(unbiased=False))
    return {
        "samples": len(rows.turns),
        "steps": len(curve),
        "learning_rate": ppo.learning_rate(job.round_id, job.game),
        "value_explains": round(1 - float(error.var(unbiased=False)) / spread, 4) if spread > 0 else 0.0,
        "ratio_first": round(curve[0]["ratio"], 6),
        "clipped_first": round(curve[0]["clipped"], 4),
        "clipped_last": round(curve[-1]["clipped"], 4),
        "policy_loss_last": round(curve[-1]["policy_loss"], 6),
        "value_loss_last": round(curve[-1]["value_loss"], 6),
        "seconds": round(seconds, 2),
    }
