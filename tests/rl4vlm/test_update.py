"""The policy's numbers: weighed as they were sampled, and moved towards what was paid for."""

from dataclasses import replace

import pytest
import torch
from make_update import Shown, ref, turn

from selu_hpc.config import GameConfig, ModelConfig
from selu_hpc.errors import TrainingError
from selu_hpc.models.chat import Chat
from selu_hpc.models.generate import LocalGenerator
from selu_hpc.models.vlm import Request, load_backbone
from selu_hpc.rl4vlm import ppo
from selu_hpc.rl4vlm.policy import Policy
from selu_hpc.rl4vlm.rows import TurnRows
from selu_hpc.rl4vlm.turns import lines, read_turns
from selu_hpc.train import adapter
from selu_hpc.train.data import Pictures

TEMPERATURE = 0.7


@pytest.fixture
def parts(tiny_base):
    config = ModelConfig(base=str(tiny_base), lora_rank=4, batch_size=4, max_new_tokens=6)
    model, processor = load_backbone(config)
    model = adapter.put_on(model, config, seed=1)
    torch.manual_seed(2)
    for name, param in adapter.trainable(model).items():
        if "lora_B" in name:
            param.data.normal_(std=0.05)
    chat = Chat(processor)
    pictures = Pictures(Shown(), chat, None, None)
    pictures.learn(pictures.look([ref(number) for number in range(8)]))
    return config, model, processor, chat, pictures


def weigh(policy, rows, which):
    return rows.batch(which, stand_in=0).weighed_by(policy)


def rows_of(parts, turns, **options):
    _, model, _, chat, pictures = parts
    return TurnRows(turns, pictures, chat, model.config, **{"thought_weight": 1.0, **options})


def test_an_answer_weighs_what_it_did_when_it_was_sampled(parts):
    config, model, processor, *_ = parts
    generator = LocalGenerator(model, processor, config)
    requests = [Request("what colour is the apple?", (Shown().read(ref(n)),)) for n in range(4)]
    answers = generator.generate(requests, adapter=None, temperature=1.0, seeds=[1, 2, 3, 4])
    rows = rows_of(parts, [turn(n, answer.ids) for n, answer in enumerate(answers)])
    with torch.no_grad():
        found, _ = weigh(Policy(model, temperature=1.0, seed=0), rows, (0, 1, 2, 3))
    assert found.tolist() == pytest.approx([answer.logprob for answer in answers], abs=1e-3)


def test_thought_counts_with_its_weight_and_the_action_in_full(parts):
    _, model, *_ = parts
    policy = Policy(model, temperature=TEMPERATURE, seed=0)
    ids = (5, 6, 7, 8)
    with torch.no_grad():
        whole = float(weigh(policy, rows_of(parts, [turn(0, ids)]), (0,))[0])
        thought = float(weigh(policy, rows_of(parts, [turn(0, ids, thoughts=4)], thought_weight=0.25), (0,))[0])
        half = float(weigh(policy, rows_of(parts, [turn(0, ids, thoughts=2)], thought_weight=0.25), (0,))[0])
        first = float(weigh(policy, rows_of(parts, [turn(0, ids[:2])]), (0,))[0])
    assert thought == pytest.approx(whole / 4, rel=1e-4)
    assert half == pytest.approx(whole - 0.75 * first, rel=1e-4)


def test_a_row_weighs_the_same_whoever_shares_its_batch(parts):
    _, model, *_ = parts
    policy = Policy(model, temperature=TEMPERATURE, seed=0)
    rows = rows_of(parts, [turn(0, (5, 6)), turn(1, (7,) * 20, prompt="please " * 30)])
    with torch.no_grad():
        alone, together = weigh(policy, rows, (0,)), weigh(policy, rows, (0, 1))
    assert float(alone[0][0]) == pytest.approx(float(together[0][0]), abs=1e-4)
    assert float(alone[1][0]) == pytest.approx(float(together[1][0]), abs=1e-4)


def test_turns_that_are_alike_are_one_row_and_weigh_what_each_does_alone(parts):
    _, model, *_ = parts
    policy = Policy(model, temperature=TEMPERATURE, seed=0)
    again = replace(turn(0, (5, 6)), episode_id="e9", step=3, reward=-1.0)
    others = [turn(0, (5, 7)), turn(1, (5, 6)), turn(0, (5, 6), prompt="what else?"), turn(0, (5, 6), thoughts=1)]
    rows = rows_of(parts, [turn(0, (5, 6)), *others, again], thought_weight=0.5)
    batch = rows.batch((4, 5, 3, 0, 2, 1), stand_in=0)
    assert (len(batch.asked_b), batch.rows) == (5, (4, 5, 3, 0, 2, 1))
    with torch.no_grad():
        together = batch.weighed_by(policy)
        alone = [rows.batch((row,), stand_in=0).weighed_by(policy) for row in batch.rows]
    for found, each in zip(together, zip(*alone, strict=True), strict=True):
        assert found.tolist() == pytest.approx([float(one) for one in each], abs=1e-4)
    assert together[0][1] == together[0][3]


def test_turns_that_are_alike_under_the_first_prompt_only_keep_their_own_old_weight(parts):
    turns = [turn(0, (5, 6)), replace(turn(0, (5, 6), prompt="what else?"), step=1)]
    assert rows_of(parts, turns).kinds == [0, 1]
    assert rows_of(parts, turns, first_prompt=True).kinds == [0, 0]


def test_what_was_paid_for_becomes_likelier_and_the_value_learns_the_return(parts):
    _, model, *_ = parts
    policy = Policy(model, temperature=1.0, seed=0)
    rows = rows_of(parts, [turn(0, (5, 6)), turn(1, (7, 8))])
    params = list(adapter.trainable(policy).values())
    optimiser = torch.optim.Adam(params, lr=3e-3)
    good, paid = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0])
    told = []
    for _ in range(5):
        with torch.no_grad():
            old_logprobs, old_values = weigh(policy, rows, (0, 1))
        told.append((old_logprobs, old_values))
        for _ in range(4):
            logprobs, values = weigh(policy, rows, (0, 1))
            optimiser.zero_grad()
            ppo.losses(
                logprobs,
                values,
                old_logprobs_t=old_logprobs,
                old_values_t=old_values,
                advantages_t=good,
                returns_t=paid,
                settings=GameConfig(),
            ).total.backward()
            optimiser.step()
    (first_logprobs, first_values), (last_logprobs, last_values) = told[0], told[-1]
    assert last_logprobs[0] > first_logprobs[0]
    assert last_logprobs[1] < first_logprobs[1]
    assert (last_values - paid).abs().max() < (first_values - paid).abs().max()


def test_an_empty_micro_batch_is_one_row_that_counts_for_nothing(parts):
    batch = rows_of(parts, [turn(0, (5, 6)), turn(1, (7, 8))]).batch((), stand_in=1)
    assert (batch.rows, batch.weight) == ((1,), 0.0)


def test_an_answer_longer_than_the_model_is_refused_by_name(parts):
    with pytest.raises(TrainingError, match=r"e0 step 0: \d+ tokens, more than the model's"):
        rows_of(parts, [turn(0, (5,) * 100_000)])


def test_turns_survive_their_file(tmp_path):
    made = [turn(0, (1, 2), thoughts=1), turn(1, (3,))]
    (tmp_path / "actor.jsonl").write_text(lines(made))
    assert read_turns(tmp_path / "actor.jsonl") == made


@pytest.mark.parametrize(
    ("text", "wrong"), [("", "no turns"), ("{}\n", "not a set of turns"), ("[1]\n", "not a set of turns")]
)
def test_a_set_that_holds_no_turns_is_refused_with_what_to_do(tmp_path, text, wrong):
    (tmp_path / "actor.jsonl").write_text(text)
    with pytest.raises(TrainingError, match=wrong):
        read_turns(tmp_path / "actor.jsonl")


@pytest.mark.parametrize("targets", [r".*(q_proj|v_proj)", r".*(q_proj|lm_head)"], ids=["plain head", "LoRA on it"])
def test_a_model_in_bfloat16_weighs_by_logits_of_float32(parts, tiny_base, targets):
    """Logits on bfloat16's grid would be further off than PPO's clip."""
    *_, chat, pictures = parts
    config = ModelConfig(base=str(tiny_base), dtype="bfloat16", lora_rank=4, lora_dropout=0.0, lora_targets=targets)
    model = adapter.put_on(load_backbone(config)[0], config, seed=1)
    for name, param in adapter.trainable(model).items():
        if "lora_B" in name:
            param.data.normal_(std=0.05, generator=torch.Generator().manual_seed(2))
    base = model.get_base_model()
    base.lm_head.weight.data.mul_(8)
    rows = TurnRows([turn(0, (5, 6, 7, 8))], pictures, chat, model.config, thought_weight=1.0)
    batch = rows.batch((0,), stand_in=0)
    with torch.no_grad():
        found = float(weigh(Policy(model, temperature=0.2, seed=0).bfloat16(), rows, (0,))[0])
        hidden = base.model(**batch.inputs, use_cache=False).last_hidden_state[batch.answers_bl].double()
        weight = base.lm_head.weight.double()
        if "lm_head" in targets:
            a, b = (part["default"].weight.double() for part in (base.lm_head.lora_A, base.lm_head.lora_B))
            weight = weight + base.lm_head.scaling["default"] * b @ a
        logits = hidden @ weight.T
        exact_a, on_a_grid_a = (
            (some / 0.2).log_softmax(-1).gather(1, batch.targets_a[:, None])[:, 0]
            for some in (logits, logits.bfloat16().double())
        )
    assert found == pytest.approx(float(exact_a.sum()), abs=5e-3)
    assert float((on_a_grid_a - exact_a).abs().max()) > GameConfig().clip


def test_a_model_in_float32_is_weighed_as_it_is(parts):
    _, model, *_ = parts
    Policy(model, temperature=1.0, seed=0)
    assert not any("forward" in vars(module) for module in model.get_base_model().lm_head.modules())


def test_the_value_is_of_the_question_whatever_was_answered(parts):
    _, model, *_ = parts
    policy = Policy(model, temperature=1.0, seed=0)
    with torch.no_grad():
        _, values = weigh(policy, rows_of(parts, [turn(0, (5, 6)), turn(0, (7, 8, 9))]), (0, 1))
    assert float(values[0]) == pytest.approx(float(values[1]), abs=1e-5)
