"""Known and unknown skins have nothing in common but the shapes' names."""

import colorsys

import numpy as np
import pytest

from selu_hpc.sim.drawing import textures
from selu_hpc.sim.drawing.shapes import mesh_for
from selu_hpc.sim.drawing.skins import (
    KNOWN_PATTERNS,
    UNKNOWN_PATTERNS,
    Look,
    all_skins,
    family_hue,
    hue_is_known,
    light,
    skin_for,
    skin_named,
    skin_of,
    skins,
    style,
)
from selu_hpc.sim.thor.catalogue import specs

ALL_STATES = frozenset({"on", "filled", "dirty"})


def hues_of(kind, skin, **state):
    colours = np.unique(
        mesh_for(kind, specs()[kind].size, style(skin, kind, 1), **state).colours.reshape(-1, 3), axis=0
    )
    for r, g, b in colours.astype(float):
        hue, saturation, value = colorsys.rgb_to_hsv(r, g, b)
        if saturation > 0.02 and value > 0.015:
            yield hue


def test_there_are_enough_skins_and_their_names_are_unique():
    assert len(skins(True)) >= 24
    assert len(skins(False)) >= 8
    assert len({skin.name for skin in all_skins()}) == len(all_skins())
    assert all(skin_named(skin.name) is skin for skin in all_skins())
    with pytest.raises(ValueError, match="choose one of"):
        skin_named("beige")


def test_a_hue_moves_to_its_family_and_no_farther_than_the_next_sector():
    for hue in np.linspace(0, 1, 721, endpoint=False):
        for known in (True, False):
            moved = family_hue(hue, known=known)
            assert hue_is_known(moved) == known
            assert min(abs(moved - hue), 1 - abs(moved - hue)) <= 1.5 / 24


@pytest.mark.parametrize("kind", sorted(specs()))
@pytest.mark.parametrize("known", [True, False])
def test_every_colour_of_a_kind_is_of_the_skins_family(kind, known):
    for skin in skins(known)[::5]:
        for state in (
            {},
            {"openness": 1.0, "flags": ALL_STATES, "liquid": "wine"},
            {"flags": frozenset({"held", "cooked"})},
        ):
            wrong = [hue for hue in hues_of(kind, skin, **state) if hue_is_known(hue) != known]
            assert not wrong


def test_patterns_lights_and_proportions_are_disjoint():
    known = {name for names in KNOWN_PATTERNS.values() for name in names}
    unknown = {name for names in UNKNOWN_PATTERNS.values() for name in names}
    assert not known & unknown
    assert known | unknown <= set(textures.NAMES)
    assert all(light(skin).key_direction[0] < 0 for skin in skins(True))
    assert all(light(skin).key_direction[0] > 0 for skin in skins(False))
    spans = [
        [Look(style(s, "Mug", i), "Mug").vary(0, 1, "x") for s in skins(k) for i in range(9)] for k in (True, False)
    ]
    assert max(spans[0]) < min(spans[1])


def test_meshes_use_only_their_worlds_patterns():
    for known, table in ((True, KNOWN_PATTERNS), (False, UNKNOWN_PATTERNS)):
        allowed = {textures.INDEX[name] for names in table.values() for name in names} | {0}
        for kind in specs():
            mesh = mesh_for(kind, specs()[kind].size, style(skins(known)[2], kind, 0), 0.0, frozenset({"dirty"}))
            assert set(mesh.texture.astype(int)) <= allowed, kind


def test_a_scene_always_gets_the_same_skin_and_scenes_differ():
    chosen = {skin_for(f"FloorPlan{i}", known=True) for i in range(1, 31)}
    assert skin_for("FloorPlan7", known=True) == skin_for("FloorPlan7", known=True)
    assert len(chosen) > 8
    assert all(skin.known for skin in chosen)
    assert not skin_for("FloorPlan7", known=False).known


def test_a_style_remembers_its_skin_and_instances_differ_a_little():
    for skin in all_skins():
        assert skin_of(style(skin, "Mug", 3)) is skin
    skin = skins(True)[1]
    a, b = (mesh_for("Apple", (0.1, 0.1, 0.1), style(skin, "Apple", i)).colours[0] for i in (1, 2))
    assert 0 < np.abs(a - b).max() < 0.25


def test_textures_tile_and_stay_within_bounds():
    atlas = textures.atlas()
    assert atlas.shape == (len(textures.NAMES), textures.PATTERN_LENGTH)
    assert atlas.min() >= 0
    assert atlas.max() < 1.3
