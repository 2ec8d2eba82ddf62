"""Each failure says how to run that test alone, in whichever process it failed."""

import os
import shlex
from collections.abc import Iterator

import pytest

SETTINGS = ("RIBCAGE_TORTURE", "RIBCAGE_FUZZ_SECONDS", "CC")  # what changes what a test does


def command(nodeid: str) -> str:
    """The line for a shell; make and the shell below it each take one layer of quotes away."""
    settings = [
        f"{name}={shlex.quote(os.environ[name])} " for name in SETTINGS if name in os.environ
    ]
    words = shlex.quote(nodeid).replace("$", "$$")
    quoted = f'"{words}"' if not set(words) & set('"$`\\') else shlex.quote(words)
    return f"{''.join(settings)}make test ARGS={quoted}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        report.sections.append(("run it alone", command(item.nodeid)))  # type: ignore[attr-defined]
    return report
