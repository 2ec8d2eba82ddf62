"""A server of each test, on a socket of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane.management.bench import Bench


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


@pytest.fixture
def bench(path: Path) -> Iterator[Bench]:
    with Bench(path, request_timeout=0.5) as made:
        yield made
