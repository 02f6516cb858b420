"""Reading an answer that thinks before it acts."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.config import Game
from selu_hpc.envs.cards.make import GAMES, make_cards
from selu_hpc.rl4vlm.cot import named_in, num_thought_tokens, read_action
from selu_hpc.rl4vlm.wording import answer_of, prompt_of

LINE = ("-", "+")
POINTS = GAMES[Game.POINTS24].action_names
PIECES = ['"action":', '"action" :', '{"thoughts": "', "+", "-", "10", "1", " ", '"', "}"]
WORDS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=12).map("".join)
"""Whatever a model may say, and often what it was asked for."""


def behind_the_last_mark(text):
    _, mark, tail = re.sub(r'"action"\s*:', "\0", text.replace("\0", " ")).rpartition("\0")
    return tail if mark else ""


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


@given(WORDS)
def test_whatever_the_model_says_a_legal_action_comes_out_and_was_said_where_it_is_the_only_one(text):
    tail = behind_the_last_mark(text)
    for names in (LINE, POINTS):
        found = read_action(text, names, seed=1)
        assert found.action in names
        assert not found.said or found.action in tail
    assert read_action(text, LINE, seed=1).said == (("-" in tail) != ("+" in tail))


def characters(ids):
    return "".join(map(chr, ids)).strip()


@given(WORDS)
def test_what_follows_the_thought_is_the_last_mark_and_all_behind_it(text):
    count = num_thought_tokens([ord(c) for c in text], characters)
    tail = behind_the_last_mark(text)
    if not re.search(r'"action"\s*:', text):
        assert count == len(text)
    else:
        assert re.fullmatch(r'"action"\s*:' + re.escape(tail), text[count:])


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
    table = make_cards(game)
    for seed in range(30):
        _, info = table.reset(seed=seed)
        state = info["state"]
        answer = answer_of(table, state, thinks=thinks)
        spoken = read_action(answer, table.action_names, seed=0)
        assert (spoken.action, spoken.said) == (table.expert(state), True)
        prompt = prompt_of(game, table, state, thinks=thinks)
        asked = json.loads(prompt[prompt.index("{") : prompt.rindex("}") + 1])
        assert list(asked) == list(json.loads(answer))
