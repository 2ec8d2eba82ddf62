"""Hypothesis as conftest.py sets it up: the same examples in each run, and no clock fails them."""

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DRAWN: list[list[int]] = []


@settings(max_examples=20)
@given(st.lists(st.integers(0, 1 << 60), min_size=3))
def draw(numbers: list[int]) -> None:
    DRAWN.append(numbers)


def test_each_run_draws_the_same_examples() -> None:
    """Twice the same function: the same lists, unless this is the torture run."""
    DRAWN.clear()
    draw()
    first = DRAWN.copy()
    DRAWN.clear()
    draw()
    torture = int(os.environ.get("RIBCAGE_TORTURE", "1")) > 1
    assert (first == DRAWN) is not torture


def test_no_example_has_a_time_limit() -> None:
    """Neither an example nor the drawing of one is failed by the clock."""
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
