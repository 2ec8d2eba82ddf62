"""Figures that the tests of all processes add up to, said on one line at the end.

Use: `DONE["kills"] += 1` in a test.
"""

from collections import Counter
from typing import Any

import pytest

DONE: Counter[str] = Counter()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tally"] = dict(DONE)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """xdist: a process has ended, and this is what it had counted."""
    DONE.update(getattr(node, "workeroutput", {}).get("tally", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    done = ", ".join(f"{n:,} {what}" for what, n in sorted(DONE.items()) if n)
    if done:
        terminalreporter.write_line(f"crash tests: {done}")
