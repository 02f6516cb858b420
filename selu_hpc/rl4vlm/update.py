"""One update: the round's turns are weighed by the policy that gave them, judged, and learned from.

Read top to bottom in `update`. Every answer is weighed anew before the first step, by the very code that trains, so
that ratios begin at 1 whatever the rollouts generated with; that pass gives the values as well, so rollouts need no
value head. Adam's moments go on from the round before. An update that is stopped goes on after its last step, against
the same judgement, to the same bytes.
Owns the order of things. Does not own the loss (ppo.py), batches (rows.py) or DeepSpeed (train/zero.py).

Shape legend: T turns of the round.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selu_hpc.config import FinetuneConfig, GameConfig, ModelConfig
from selu_hpc.errors import TrainingError
from selu_hpc.models.backbone import fingerprint
from selu_hpc.models.chat import Chat
from selu_hpc.records import derive_seed
from selu_hpc.rl4vlm import ppo
from selu_hpc.rl4vlm.judged import Judged
from selu_hpc.rl4vlm.order import alike, plan_steps
from selu_hpc.rl4vlm.policy import Policy
from selu_hpc.rl4vlm.rows import TurnRows
from selu_hpc.rl4vlm.state import read as read_state
from selu_hpc.rl4vlm.state import save as save_state
from selu_hpc.rl4vlm.turns import Turn, read_turns
from selu_hpc.rounds.rundir import MARKER
from selu_hpc.train import adapter, checkpoint, closing, setup
from selu_hpc.train.checkpoint import Checkpoint
from selu_hpc.train.closing import CHECKPOINTS, TENSORBOARD
from selu_hpc.train.curve import Events, write_curve
from selu_hpc.train.data import Frames
from selu_hpc.train.order import Step
from selu_hpc.train.ranks import Team
from selu_hpc.train.result import Result, Stopped
from selu_hpc.train.stop import StopWish
from selu_hpc.train.zero import Engine, TrainState, deepspeed_config

logger = logging.getLogger(__name__)

PREFIX = "model."
"""The adapter's matrices inside the policy; the head's are called head.…"""
JUDGED = "judged.safetensors"
"""What an update that is under way was judged, beside its checkpoints."""
ADAM_EPS = 1e-7
FAR = 0.5
"""An update has gone too far when more than this share of ratios left the clip between its first step and its last."""
FIGURES = ("loss", "policy_loss", "value_loss", "ratio", "clipped")
"""Of a step's answers on average, in the order in which `_backward` sums them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One update: `Job(name="r03/actor", turns=…, folder=shard.path, start=…/adapter, …)`.

    start: the adapter of the round before.  state: that round's `state` folder, None after the warm-up.
    content: that round's, which the state must be of.
    attempt: this attempt's own folder, where tensorboard/ lies while it runs; None where there is but one.
    """

    name: str
    round_id: int
    turns: Path
    folder: Path
    start: Path
    state: Path | None
    content: str = ""
    model: ModelConfig
    finetune: FinetuneConfig
    game: GameConfig
    seed: int
    attempt: Path | None = None


@dataclass(slots=True)
class _Run:
    """An update under way on this rank. rows: the turns under the prompts that it weighs them with."""

    job: Job
    team: Team
    engine: Engine
    rows: TurnRows
    judged: Judged
    steps: Sequence[Step]
    identity: str
    curve: list[dict[str, Any]]
    saved_at: float = field(default_factory=time.monotonic)


def update(
    job: Job,
    team: Team,
    frames: Frames,
    wish: StopWish,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    mark: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Weigh, judge, learn, write; raises Stopped after a save, TrainingError when it must not go on.

    mark: as in `sft.train`.
    """
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
        reread.kinds,
        epochs=job.game.epochs,
        batch=settings.global_batch,
        micro_batch=size,
        world=team.world,
        seed=derive_seed(job.seed, "order"),
    )
    settings = settings.but(global_batch=size * len(steps[0].micro_batches))
    rate = ppo.learning_rate(job.round_id, job.game)
    config = deepspeed_config(settings, dtype=job.model.dtype, world=team.world, micro_batch=size, learning_rate=rate)
    config["optimizer"]["params"]["eps"] = ADAM_EPS
    setup.merge_where_equal(model, dtype=job.model.dtype, dropout=0.0, deepspeed=config)
    identity = _identity(job, base, config)
    judged = Judged.load(job.folder / CHECKPOINTS / JUDGED, identity)
    if not all(team.gather(judged is not None)):
        judged = None
    saved = checkpoint.agreed(job.folder / CHECKPOINTS, identity, team) if judged else None
    engine = _start_engine(job, policy, config, saved.state if saved else _state_before(job), start)
    try:
        if judged is None:
            judged = _judge(job, team, engine, own, size)
            if team.leads:
                judged.save(job.folder / CHECKPOINTS / JUDGED, identity)
        engine.set_learning_rate(rate)
        curve = saved.curve if saved else []
        _learn(_Run(job, team, engine, reread, judged.to(team.device), steps, identity, curve), wish, on_step)
        state = engine.state()
    finally:
        engine.close()
    result = Result("", _summary(job, own, judged, curve, seconds=time.monotonic() - begin))
    if team.leads:
        _warn(job, result.summary)
        write = partial(_write, job=job, model=model, state=state, base=base, curve=curve, summary=result.summary)
        closing.finish(job.folder, result, write, mark, attempt=job.attempt)
        logger.info("%s: %s", job.name, result.summary)
    team.barrier()
    return result


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


def _state_before(job: Job) -> TrainState | None:
    """Weights and moments after the round before; None after the warm-up, which had neither a head nor this Adam."""
    return None if job.state is None else read_state(job.state, content=job.content, name=job.name)


def _start_engine(
    job: Job, policy: Policy, config: dict[str, Any], state: TrainState | None, start: dict[str, torch.Tensor]
) -> Engine:
    fresh = {name: param.detach().clone() for name, param in adapter.trainable(policy).items()}
    return setup.start_engine(policy, job.finetune, config, state=state, start={**fresh, **start})


@torch.no_grad()
def _judge(job: Job, team: Team, engine: Engine, rows: TurnRows, size: int) -> Judged:
    """Weigh every turn under its own prompt, each rank its share, and tell how good it was."""
    engine.engine.eval()
    mine: dict[int, tuple[float, float]] = {}
    groups = alike(range(len(rows.turns)), rows.lengths, rows.kinds)
    cut = [tuple(row for group in groups[at : at + size] for row in group) for at in range(0, len(groups), size)]
    most = -(-len(cut) // team.world)
    for number in range(most):  # every rank as often, for ZeRO 3 gathers together
        part = cut[number * team.world + team.rank] if number * team.world + team.rank < len(cut) else ()
        batch = rows.batch(part, stand_in=0)
        logprobs_t, values_t = batch.to(team.device).weighed_by(engine.engine)
        mine |= dict(zip(part, zip(logprobs_t.tolist(), values_t.tolist(), strict=True), strict=False))
    engine.engine.train()
    found = {row: pair for part in team.gather(mine) for row, pair in part.items()}
    return Judged.of(rows.turns, found, job.game)


def _learn(run: _Run, wish: StopWish, on_step: Callable[[int, int], None]) -> None:
    events = Events((run.job.attempt or run.job.folder) / TENSORBOARD, run.curve) if run.team.leads else None
    try:
        for step in run.steps[len(run.curve) :]:
            _step(run, step, wish)
            if events is not None:
                events.add(run.curve[-1])
                on_step(step.number, len(run.steps))
    finally:
        if events is not None:
            events.close()


def _step(run: _Run, step: Step, wish: StopWish) -> None:
    """Forward and backward, agree, update, save if due. Who is stopped has gone on by a step, so it ends some day."""
    begin = time.perf_counter()
    job, team = run.job, run.team
    sums = _backward(run, step)
    due = time.monotonic() - run.saved_at > job.finetune.checkpoint_minutes * 60
    *totals, stops, saves = team.total(*sums, bool(wish), team.leads and due)
    figures = {name: value / len(step.rows) for name, value in zip(FIGURES, totals, strict=True)}
    norm = run.engine.step()
    if not np.isfinite([*figures.values(), norm]).all():
        raise TrainingError(
            f"{job.name}: step {step.number} gave {figures} and a gradient of norm {norm}; lower "
            "game.learning_rate or finetune.max_grad_norm"
        )
    seconds = time.perf_counter() - begin
    tokens = sum({run.rows.kinds[row]: run.rows.length(row) for row in step.rows}.values())
    run.curve.append(
        {
            "step": step.number,
            "epoch": step.epoch,
            **figures,
            "learning_rate": run.engine.engine.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm,
            "tokens": tokens,
            "seconds": round(seconds, 4),
            "tokens_per_s": round(tokens / seconds, 1),
            "time": round(time.time(), 2),
        }
    )
    if (stops or saves) and step.number < len(run.steps):
        _save(run, stops=bool(stops))
        if stops:
            raise Stopped(f"{job.name}: stopped after step {step.number} of {len(run.steps)}")


def _save(run: _Run, *, stops: bool) -> None:
    state = run.engine.state()
    done = len(run.curve)
    if run.team.leads:
        save = checkpoint.save if stops else checkpoint.save_if_possible
        place = save(run.job.folder / CHECKPOINTS, Checkpoint(done, run.identity, state, run.curve))
        if place is not None:
            logger.info("%s: step %s of %s saved in %s", run.job.name, done, len(run.steps), place)
    run.team.barrier()
    run.saved_at = time.monotonic()


def _backward(run: _Run, step: Step) -> list[float]:
    """Accumulate this rank's gradients; returns its sums. DeepSpeed averages over ranks and micro-batches."""
    team, judged = run.team, run.judged
    share = step.share(team.rank, team.world)
    scale = team.world * len(share) / len(step.rows)
    sums = np.zeros(len(FIGURES))
    for number, part in enumerate(share):
        batch = run.rows.batch(part, stand_in=step.rows[0]).to(team.device)
        logprobs_t, values_t = batch.weighed_by(run.engine.engine)
        at = torch.tensor(batch.rows, device=team.device)
        found = ppo.losses(
            logprobs_t,
            values_t,
            old_logprobs_t=judged.logprobs_t[at],
            old_values_t=judged.values_t[at],
            advantages_t=judged.advantages_t[at],
            returns_t=judged.returns_t[at],
            settings=run.job.game,
        )
        run.engine.engine.backward(found.total * (batch.weight * scale))
        figures = (found.total.detach(), found.policy, found.value, found.ratio, found.clipped)
        sums += batch.weight * np.array([float(one) for one in figures])
        if number < len(share) - 1:
            run.engine.engine.step()  # counts the micro-batch; no update yet
    return [float(one) for one in sums]


def _write(
    own: Path,
    *,
    job: Job,
    model: Any,
    state: TrainState,
    base: Path,
    curve: list[dict[str, Any]],
    summary: dict[str, Any],
) -> str:
    """adapter/ for who generates, state/ for the next update, both in `own`; returns the digest of both."""
    lora = {name.removeprefix(PREFIX): value for name, value in state.weights.items() if name.startswith(PREFIX)}
    head = {name: value for name, value in state.weights.items() if not name.startswith(PREFIX)}
    content = adapter.write(own / "adapter", model, lora, base=job.model.base, base_folder=base)
    content = f"{content}-{adapter.digest(head, model.peft_config['default'])}"
    save_state(own, state, round_id=job.round_id, content=content)
    write_curve(own / "curve.json", curve, summary)
    return content


def _identity(job: Job, base: Path, config: dict[str, Any]) -> str:
    """What a checkpoint belongs to; ranks, stage and scheduling are not in it."""
    hashed = hashlib.blake2b(digest_size=16)
    hashed.update(job.turns.read_bytes())
    hashed.update((job.start / adapter.WEIGHTS).read_bytes())
    for marker in sorted(job.state.glob(f"step-*/{MARKER}")) if job.state else ():
        hashed.update(marker.read_bytes())
    lora = {name: value for name, value in job.model.plain().items() if name.startswith("lora")}
    told = [
        fingerprint(base),
        job.model.dtype,
        lora,
        job.game.plain(),
        config["optimizer"],
        job.finetune.max_grad_norm,
        job.round_id,
        job.seed,
    ]
    hashed.update(json.dumps(told, sort_keys=True).encode())
    return hashed.hexdigest()


def _mismatch(rows: TurnRows, judged: Judged) -> dict[str, float]:
    found = judged.mismatch(rows.turns)
    return {} if found is None else {"mismatch_mean": round(found[0], 4), "mismatch_p95": round(found[1], 4)}


def _warn(job: Job, summary: dict[str, Any]) -> None:
    """Say it where what was learned from is not what was played, though learning goes on."""
    clip = job.game.clip
    if summary.get("mismatch_p95", 0.0) > clip:
        logger.warning(
            "%s: answers weigh otherwise here than where they were sampled: log-probabilities lie %s apart on average, "
            "one in twenty more than %s, and ratios are clipped at %s; set model.dtype: float32, or raise "
            "game.temperature",
            job.name, summary["mismatch_mean"], summary["mismatch_p95"], clip,
        )  # fmt: skip
    if job.game.reread == "own_prompt" and summary["clipped_first"] > 0:
        logger.warning(
            "%s: %.1f %% of the first step's ratios, %s on average, were outside the clip before anything was learned: "
            "a turn weighs otherwise in another batch; set model.dtype: float32, or look for randomness in the model",
            job.name, 100 * summary["clipped_first"], summary["ratio_first"],
        )  # fmt: skip
    if summary["clipped_last"] - summary["clipped_first"] > FAR:
        logger.warning(
            "%s: before the last step %.0f %% of its ratios were outside the clip of %s: the update went farther than "
            "its turns can tell, and may have unlearned what was there; lower game.learning_rate, or raise game.batch",
            job.name, 100 * summary["clipped_last"], clip,
        )  # fmt: skip


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
        **_mismatch(rows, judged),
        "ratio_first": round(curve[0]["ratio"], 6),
        "clipped_first": round(curve[0]["clipped"], 4),
        "clipped_last": round(curve[-1]["clipped"], 4),
        "policy_loss_last": round(curve[-1]["policy_loss"], 6),
        "value_loss_last": round(curve[-1]["value_loss"], 6),
        "seconds": round(seconds, 2),
    }
