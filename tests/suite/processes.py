"""The suite in several processes (pytest-xdist): how many, and what they share.

`make test` asks for `-n auto`: a process a core. Tests that were asked for one by one, by names
with `::` in them, run in the process that was started: no other has to be waited for.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.suite.alone import Turnstile


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    if config.args and all("::" in word for word in config.args):
        return 0
    return len(os.sched_getaffinity(0))


class Controller:
    """Of the process that gives the tests out: makes the folder they share, and removes it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ribcage-suite-"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["shared_folder"] = str(self.folder)

    def pytest_unconfigure(self) -> None:
        shutil.rmtree(self.folder)


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.pluginmanager.register(Turnstile(Path(given["shared_folder"])))
    elif getattr(config.option, "tx", None):
        config.pluginmanager.register(Controller())
