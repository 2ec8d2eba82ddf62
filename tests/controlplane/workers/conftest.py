"""What hears events, made for each test."""

from collections.abc import Iterator

import pytest

from ribcage.shared.process.events import EventQueue
from tests.controlplane.workers.heard import Heard


@pytest.fixture
def heard() -> Iterator[Heard]:
    queue = EventQueue.create()
    made = Heard(queue)
    yield made
    made.close()
    queue.remove()
