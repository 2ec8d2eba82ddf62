"""Tests marked `alone` run while no other test of this run does, in whichever process.

For what measures time or CPU and would measure its neighbours too; nothing else needs the mark.
Two locks of the file system: everybody holds `room` while a test runs, shared, and the test that
wants to be alone holds it for itself. Who waits for the room keeps `gate`, so that those who come
later cannot pass for ever. Waiting is over before the test's own time limit begins.
"""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest


class Turnstile:
    """A plugin of one process; all that share `folder` take turns."""

    def __init__(self, folder: Path) -> None:
        self._gate = (folder / "gate").open("w")
        self._room = (folder / "room").open("w")

    def close(self) -> None:
        self._gate.close()
        self._room.close()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        alone = item.get_closest_marker("alone") is not None
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:  # by name: a child that outlives the test would keep a lock that is only closed
            fcntl.flock(self._room, fcntl.LOCK_UN)
