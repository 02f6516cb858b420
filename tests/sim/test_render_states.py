"""Every kind has a mesh inside its reach, and every state shows at 96×96 from near."""

import numpy as np
import pytest

from selu_hpc.sim.contact_sheet import main, portrait, states_of
from selu_hpc.sim.drawing.shapes import kinds, mesh_for
from selu_hpc.sim.drawing.skins import skins, style
from selu_hpc.sim.thor.catalogue import specs

SKINS = (skins(True)[3], skins(False)[3])
STATES = [
    (kind, label, openness, flags)
    for kind in sorted(specs())
    for label, openness, flags in states_of(specs()[kind])[1:]
    if kind not in {"Floor"}
]


def shown(kind, skin, openness=0.0, flags=frozenset()):
    liquid = "water" if "filled" in flags else ""
    return portrait(kind, specs()[kind].size, skin, 96, openness=openness, flags=flags, liquid=liquid, fixed=True)


@pytest.mark.parametrize(("kind", "label", "openness", "flags"), STATES, ids=[f"{k}-{s}" for k, s, _, _ in STATES])
def test_a_state_shows_in_known_and_unknown_skins(kind, label, openness, flags):
    for skin in SKINS:
        plain = shown(kind, skin).astype(int)
        changed = np.abs(shown(kind, skin, openness, flags).astype(int) - plain).max(2) > 24
        assert changed.mean() > 0.004, f"{kind} {label} in {skin.name}: {changed.sum()} pixels of {changed.size}"


def test_every_type_of_the_catalogue_has_a_shape_of_its_own():
    assert set(specs()) <= set(kinds())


@pytest.mark.parametrize("kind", sorted(specs()))
def test_a_closed_thing_stays_near_its_box(kind):
    size = specs()[kind].size
    for skin in SKINS:
        points = mesh_for(kind, size, style(skin, kind, 5)).position.reshape(-1, 3)
        slack = 0.12 * max(size) + 0.03
        limit = np.array([size[0] / 2, size[1], size[2] / 2]) + slack
        assert np.isfinite(points).all()
        assert (np.abs(points[:, [0, 2]]) <= limit[[0, 2]]).all()
        assert points[:, 1].max() <= limit[1]
        assert points[:, 1].min() > -0.15


@pytest.mark.parametrize("kind", sorted(specs()))
def test_normals_have_length_one_and_point_the_way_the_triangles_face(kind):
    mesh = mesh_for(kind, specs()[kind].size, style(SKINS[0], kind, 5), 0.5)
    assert np.allclose(np.linalg.norm(mesh.normal, axis=2), 1, atol=1e-3)
    corner = mesh.position
    facet = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(facet, axis=1)
    across = np.abs(np.sum(facet * mesh.normal.mean(1), axis=1)) > 0.2 * length * np.linalg.norm(
        mesh.normal.mean(1), axis=1
    )
    assert across[length > 1e-9].mean() > 0.9


def test_sizes_and_states_that_make_no_sense_still_draw():
    for size in ((1e-9, 1e-9, 1e-9), (50, 0.01, 50)):
        for kind in ("Fridge", "Mug", "Nonsense", "Drawer", "Painting"):
            mesh = mesh_for(kind, size, -5, 7.0, frozenset({"broken", "held", "on", "no such flag"}), "tar")
            assert np.isfinite(mesh.position).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--skin", "99"], "--skin: invalid choice: 99 (choose from 0, "),
        (["--kinds", "Foo"], "--kinds: invalid choice: 'Foo' (choose from 'AlarmClock', "),
        (["--kinds"], "--kinds: expected at least one argument"),
        (["--columns", "0"], "--columns: found 0; give a number from 1 on"),
        (["--rooms", "/missing/x.png"], "/missing/x.png: there is no folder /missing; make it"),
    ],
)
def test_a_contact_sheet_of_what_is_not_there_is_refused_with_what_is(words, told, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "sheet.png"), *words])
    assert told in capsys.readouterr().err
