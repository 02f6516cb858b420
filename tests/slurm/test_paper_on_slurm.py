"""The real stages on the real Slurm: three rounds of the built-in default, small, equal the local engine's bytes."""

import pytest
from harness import REPO, Lab, contents, journal

from selu_hpc.selftest import TINY

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def desk(cluster) -> Lab:
    """The test user's desk with the repository as it is."""
    return Lab(cluster, cluster.STATE / "shared", REPO)


def test_three_rounds_of_the_built_in_default_equal_the_local_engines_bytes(desk, run):
    settings = (*TINY, "retry.max_retries=0")
    desk.submit(run, rounds=3, settings=settings)
    found = desk.wait_done(run, limit_s=900)
    assert [event["why"] for event in journal(run) if event["event"] == "gave_up"] == []
    local = run.with_name(f"{run.name}-local")
    overrides = [word for setting in settings for word in ("--set", setting)]
    same_code = Lab(desk.cluster, desk.home, run / "code")
    same_code.python("-m", "selu_hpc.submit", "--run", str(local), "--rounds", "3", "--engine", "local", *overrides)
    assert found == contents(local)
    assert "03/finetune_critic/shard-0000" in found
