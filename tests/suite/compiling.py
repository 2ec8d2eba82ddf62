"""Tests of folders that compile C have a longer time limit: the first that wants an object waits
for the compiler, a minute where the machine is busy. It is a guard against hanging; what a program
itself may take is said where it is run (tests/csrc/build.py).
"""

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FOLDERS = (TESTS / "csrc", TESTS / "crash")
SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        compiles = any(item.path.is_relative_to(folder) for folder in FOLDERS)
        if compiles and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS))
