"""One VirtualHome stand-in for each world, shared by a module's tests."""

from collections.abc import Iterator

import pytest
from virtualhome_home import Home, served

from selu_hpc.envs.virtualhome.client import UnityCommunication


@pytest.fixture(scope="module", params=["known", "unknown"])
def port(request) -> Iterator[int]:
    yield from served(request.param)


@pytest.fixture
def client(port) -> UnityCommunication:
    found = UnityCommunication(port=str(port))
    assert found.reset(0)
    return found


@pytest.fixture
def home(client) -> Home:
    return Home(client)
