"""Episodes to store: small, of different lengths, made from a number alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from store_episodes import make_episode

from selu_hpc.records import Episode


@pytest.fixture
def episodes() -> list[Episode]:
    return [make_episode(index) for index in range(23)]


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Every file of a store but its timestamps."""

    def read(folder: Path) -> dict[str, bytes]:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not name.startswith("timestamps_s/")}

    return read
