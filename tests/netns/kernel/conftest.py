"""The network that the kernel's tests have in common."""

from collections.abc import Iterator

import pytest

from ribcage.lab.topology import topologies
from ribcage.lab.topology.namespaces import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield topologies.demo(made)
