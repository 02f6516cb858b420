"""Reading an answer that thinks before it acts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.config import Game
from selu_hpc.envs.cards.make import GAMES, make_cards
from selu_hpc.rl4vlm.cot import named_in, num_thought_tokens, read_action
from selu_hpc.rl4vlm.wording import answer_of, prompt_of

LINE = ("-", "+")
POINTS = GAMES["points24"].action_names


@pytest.mark.parametrize(
    ("text", "names", "action"),
    [
        ('{"thoughts": "3 is less than 5", "action": "+"}', LINE, "+"),
        ('{ " thoughts " : " down ", " action " : " - " }', LINE, "-"),
        ('{"THOUGHTS": "…", "ACTION": "Stand"}', ("stand", "hit"), "stand"),
        ('{"action": "10"}', POINTS, "10"),
        ('{"action": "1"}', POINTS, "1"),
        ('{"thoughts": "\\"action\\": \\"-\\" is wrong", "action": "+"}', LINE, "+"),
        ('"action": "hit', ("stand", "hit"), "hit"),
    ],
)
def test_the_one_action_behind_the_last_mark_is_taken(text, names, action):
    spoken = read_action(text, names, seed=0)
    assert (spoken.action, spoken.said) == (action, True)


@pytest.mark.parametrize(
    "text",
    ["", "+", "I add one.", '{"action": ""}', '{"action": "+ or -"}', '{"thoughts": "+"}', "\x00\u202e", "{" * 999],
)
def test_without_exactly_one_action_one_is_drawn_and_the_record_says_so(text):
    drawn = {read_action(text, LINE, seed=seed).action for seed in range(20)}
    assert drawn == set(LINE)
    assert not read_action(text, LINE, seed=0).said
    assert read_action(text, LINE, seed=3) == read_action(text, LINE, seed=3)


def test_ten_is_not_also_a_one():
    assert named_in('"10"', POINTS) == ["10"]
    assert named_in('"10 1"', POINTS) == ["1", "10"]


@given(st.text(max_size=300))
def test_whatever_the_model_says_a_legal_action_comes_out(text):
    for names in (LINE, POINTS):
        assert read_action(text, names, seed=1).action in names


def characters(ids):
    return "".join(map(chr, ids)).strip()


@given(st.text(max_size=120))
def test_the_number_of_thought_tokens_lies_within_the_answer(text):
    assert 0 <= num_thought_tokens([ord(c) for c in text], characters) <= len(text)


def test_thought_ends_where_the_mark_begins():
    text = '{"thoughts": "up", "action": "+"}'
    assert text[num_thought_tokens([ord(c) for c in text], characters) :] == '"action": "+"}'


def test_an_answer_without_a_mark_is_all_thought():
    text = "I would add one."
    assert num_thought_tokens([ord(c) for c in text], characters) == len(text)


def test_the_mark_is_found_among_tokens_of_the_built_in_model():
    from selu_hpc.models.backbone import find, load_processor
    from selu_hpc.models.chat import Chat

    chat = Chat(load_processor(find("pocket")))
    ids = chat.answer_ids('{"thoughts": "go up", "action": "+"}')
    count = num_thought_tokens(ids, chat.decode)
    assert chat.decode(ids[count:]) == '" action " : " + " }'
    assert read_action(chat.decode(ids), LINE, seed=0).said


@pytest.mark.parametrize("game", list(Game))
@pytest.mark.parametrize("thinks", [True, False])
def test_the_experts_answer_is_what_the_prompt_asks_for_and_is_read_as_the_experts_action(game, thinks):
    player = make_cards(str(game))
    for seed in range(30):
        _, info = player.reset(seed=seed)
        state = info["state"]
        answer = answer_of(player, state, thinks=thinks)
        spoken = read_action(answer, player.action_names, seed=0)
        assert (spoken.action, spoken.said) == (player.expert(state), True)
        prompt = prompt_of(game, player, state, thinks=thinks)
        asked = json.loads(prompt[prompt.index("{") : prompt.rindex("}") + 1])
        assert list(asked) == list(json.loads(answer))
