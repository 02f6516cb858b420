"""Fixtures of every room: a small config and a fresh run folder on a path that is unkind on purpose."""

import logging
import sys

import pytest
from hypothesis import HealthCheck, settings

from selu_hpc.config import RunConfig
from selu_hpc.logs import OURS
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import RunDir

# The same examples in every run, and no example fails for being slow: a loaded machine may stand still at any moment.
# To look for new ones: pytest --hypothesis-profile=default.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

SMALL = [
    "rounds=2",
    "rollout.num_shards=2",
    "rollout.episodes_per_shard=4",
    "evaluate.num_shards=1",
    "evaluate.critic_episodes=8",
    "evaluate.actor_episodes=4",
    "evaluate.bootstrap_samples=50",
    "evaluate.probe_questions=8",
    "mix.actor_samples=16",
    "mix.critic_samples=16",
    "env.horizon=4",
    "finetune.global_batch=8",
    "finetune.micro_batch=8",
]


@pytest.fixture(autouse=True)
def guard_of_its_own():
    """What a stage forbids its process, it forbids this one: a later test, and pytest when it deletes old folders."""
    yield
    if "selu_hpc.store.truth" in sys.modules:
        sys.modules["selu_hpc.store.truth"]._forbidden.clear()


@pytest.fixture(autouse=True)
def what_we_log_reaches_caplog():
    """Whatever a command that ran in this process made of the loggers."""
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).propagate = True


@pytest.fixture
def small_config() -> RunConfig:
    return load_recipe("selu", SMALL)


@pytest.fixture
def unkind_path(tmp_path):
    """Spaces, quotes, a newline, a dollar and non-ASCII, as users' folders have them."""
    path = tmp_path / 'le lab\'s "räume"\n $(run)'
    path.mkdir()
    return path


@pytest.fixture
def small_run(unkind_path, small_config) -> RunDir:
    run, _ = open_run(unkind_path / "run", small_config)
    return run
