"""An evaluation that was believed dead and ends after its successor leaves what that one has published."""

from types import SimpleNamespace

import pytest

from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.rundir import RunDir, Stage, write_json
from selu_hpc.stages import evaluate
from selu_hpc.stages.games import evaluate as games


@pytest.fixture
def published(monkeypatch):
    """`published(module, place, do)`: another attempt publishes while `module` computes numbers; gives its bytes."""

    def make(module, place, do):
        numbers, found = module.numbers, {}

        def late(rows, *, samples):
            monkeypatch.setattr(module, "numbers", numbers)
            do()
            found.update({file: file.read_bytes() for file in (place.path / "results.json", place.marker_file)})
            return {"late": {}}

        monkeypatch.setattr(module, "numbers", late)
        return found

    return make


def test_a_late_evaluation_leaves_the_results_that_are_marked(toy_run, toy_model, do, published):
    do(Stage.TESTSET, 0)
    place = toy_run.shard(0, Stage.EVALUATE)
    found = published(evaluate, place, lambda: do(Stage.EVALUATE, 0, attempt=1))
    do(Stage.EVALUATE, 0, attempt=0)
    assert {file: file.read_bytes() for file in found} == found
    assert place.check().summary["attempt"] == 1


def test_a_late_evaluation_of_games_does_so_too(tmp_path, monkeypatch, published):
    config = load_recipe("rl4vlm", [])
    place = RunDir(tmp_path).shard(1, Stage.EVALUATE)
    monkeypatch.setattr(games, "keep", lambda *_: "played")
    monkeypatch.setattr(games, "LineReader", lambda _: SimpleNamespace(records=[]))

    def other():
        write_json(place.path / "results.json", {"numbers": {}})
        place.write_marker(content="other", names=["results.json"], summary={"attempt": 1})

    found = published(games, place, other)
    games.run(place, 0, config)
    assert {file: file.read_bytes() for file in found} == found
    assert place.check().content == "other"
