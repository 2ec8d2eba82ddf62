"""Budgets: what may be spent at once and over time, whatever the clock does."""

from hypothesis import given
from hypothesis import strategies as st

from ribcage.shared.process.budget import Budget


@given(st.lists(st.floats(0, 1e6), max_size=200), st.floats(0.1, 1e3), st.floats(1, 100))
def test_no_more_than_the_burst_and_the_rate_is_ever_granted(
    times: list[float], rate: float, burst: float
) -> None:
    """Moments in any order: a clock that stands or runs back grants nothing."""
    budget = Budget(rate, burst)
    granted = sum(budget.take(now) for now in times)
    risen = sum(max(0.0, b - a) for a, b in zip([0.0, *times], times, strict=False))
    assert granted <= burst + rate * risen + 1e-6
    assert granted + budget.refused == len(times)


def test_what_is_not_spent_comes_back() -> None:
    """Two at once, then one each half second."""
    budget = Budget(2.0, 2.0)
    assert [budget.take(10.0) for _ in range(3)] == [True, True, False]
    assert [budget.take(10.5), budget.take(10.6), budget.take(11.1)] == [True, False, True]
