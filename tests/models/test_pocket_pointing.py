"""Where the built-in model is taught to look: at what a name names, and at the first token when it is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selu_hpc.models.pocket.lessons.scenes import CLASSES, STATES
from selu_hpc.models.pocket.model import build_tokenizer
from selu_hpc.models.pocket.teaching.packing import Block
from selu_hpc.models.pocket.teaching.pointing import (
    ANSWER_LAYER,
    LAYERS,
    NAME_LAYER,
    NUM_HEADS,
    Labels,
    Pointing,
    named_in,
    pointing,
)

NUM_BEFORE, NUM_PATCHES = 2, 64
OPEN = STATES.index("open")


def ids_of(text: str) -> list[int]:
    return build_tokenizer()(text, add_special_tokens=False)["input_ids"]


def asked(prompt: str, answer: str) -> Block:
    end = [*ids_of(answer), 2]
    return Block(np.array([*ids_of(prompt), *ids_of("<assistant>"), *end]), len(end))


def picture(*, open_at: int | None = None, **patches: int) -> Labels:
    """Labels of a picture whose patches show classes by name, at one place in an open one, and walls elsewhere."""
    classes = np.full((1, NUM_PATCHES, 3), CLASSES.index("Wall"))
    shares = np.zeros((1, NUM_PATCHES, 3))
    shares[..., 0] = 1.0
    for name, patch in patches.items():
        classes[0, patch, 0], shares[0, patch, 0] = CLASSES.index(name), 0.4
    states, applicable = np.zeros((2, 1, NUM_PATCHES, len(STATES)))
    applicable[0, list(patches.values()), OPEN] = 1
    if open_at is not None:
        states[0, open_at, OPEN] = 1
    return Labels(classes, shares, states, applicable)


def looked_at(found: Pointing, layer: int) -> list[tuple[int, list[int]]]:
    looks = found.by_layer[layer]
    return [
        (int(place[2]), row.nonzero().flatten().tolist()) for place, row in zip(looks.places, looks.wanted, strict=True)
    ]


def test_the_longest_name_is_found_with_the_place_of_its_last_token():
    ids = ids_of("is the coffee machine open? pick up the mug")
    found = [(place, [CLASSES[kind] for kind in kinds]) for place, kinds in named_in(ids)]
    assert found == [(ids.index(ids_of("machine")[0]), ["CoffeeMachine"]), (len(ids) - 1, ["Mug"])]


def test_a_name_looks_at_the_patches_that_show_it_and_so_does_the_answer():
    block = asked("Is the fridge open? yes or no?", "yes")
    found = pointing([[block]], picture(Fridge=9, Mug=20), num_before=NUM_BEFORE)
    [(name_place, name_patches)] = looked_at(found, NAME_LAYER)
    [(answer_place, answer_patches)] = looked_at(found, ANSWER_LAYER)
    assert block.ids[name_place] == ids_of("fridge")[0]
    assert block.ids[answer_place] == ids_of("<assistant>")[0]
    assert name_patches == answer_patches == [NUM_BEFORE + 9]


def test_what_is_not_in_the_picture_is_looked_for_at_the_first_token():
    found = pointing([[asked("Is the fridge open? yes or no?", "no")]], picture(Mug=20), num_before=NUM_BEFORE)
    assert [patches for _, patches in looked_at(found, NAME_LAYER)] == [[0]]


def test_an_answer_that_names_a_thing_looks_at_that_thing():
    found = pointing(
        [[asked("Which object is open? Say the object or none.", "fridge")]],
        picture(Fridge=9, Mug=20),
        num_before=NUM_BEFORE,
    )
    assert NAME_LAYER not in found.by_layer
    assert [patches for _, patches in looked_at(found, ANSWER_LAYER)] == [[NUM_BEFORE + 9]]


@pytest.mark.parametrize(("at", "low"), [(NUM_BEFORE + 9, True), (NUM_BEFORE + 20, False)])
def test_the_loss_is_low_only_for_heads_that_look_there(at: int, low: bool):
    block = asked("Is the fridge open? yes or no?", "yes")
    found = pointing([[block]], picture(Fridge=9, Mug=20), num_before=NUM_BEFORE)
    weights = torch.zeros(1, 6, 1, len(block.ids), NUM_BEFORE + NUM_PATCHES + len(block.ids))
    weights[:, :NUM_HEADS, :, :, at] = 1.0
    for layer in range(4):
        found.hear(layer, weights)
    assert len(found.losses) == 2
    assert (found.loss() < 0.01) == low


@pytest.mark.parametrize("is_open", [True, False])
def test_a_token_that_knows_the_state_has_a_low_loss_and_one_that_says_the_opposite_a_high_one(is_open: bool):
    block = asked("Is the fridge open? yes or no?", "yes" if is_open else "no")
    labels = picture(Fridge=9, open_at=9 if is_open else None)
    found = pointing([[block]], labels, num_before=NUM_BEFORE)
    losses = {}
    for says in (True, False):
        head = torch.nn.Linear(1, 1 + len(STATES))
        with torch.no_grad():
            head.weight.zero_()
            head.bias.fill_(20.0)
            head.bias[1 + OPEN] = 20.0 if says else -20.0
        hidden = torch.zeros(1, 1, len(block.ids), 1)
        losses[says] = found.knowing_loss(dict.fromkeys(LAYERS, head), dict.fromkeys(LAYERS, hidden))
    assert losses[is_open] < 0.01 < losses[not is_open]


def test_what_is_not_there_has_no_state_to_be_known():
    found = pointing([[asked("Is the fridge open? yes or no?", "no")]], picture(Mug=20), num_before=NUM_BEFORE)
    for layer in LAYERS:
        assert found.by_layer[layer].states.tolist() == [[0.0] * (1 + len(STATES))]
        assert found.by_layer[layer].applicable.sum() == 1
