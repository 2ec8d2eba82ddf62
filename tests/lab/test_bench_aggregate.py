"""The benchmark of aggregation on a small synthetic table."""

import pytest

from ribcage.lab.bench.aggregate import measure, text
from ribcage.lab.tables import synthetic


@pytest.mark.parametrize("family", [4, 6])
def test_both_halves_answer_alike_and_one_is_smaller(family: int) -> None:
    """The figures are the writers' own: fewer entries, not more bytes, no lookup that differs."""
    result = measure(synthetic(family, 3000, nexthops=3), 0, True, 2000)
    assert result["differences"] == 0
    assert result["plain"]["entries"] == result["routes"] == 3001
    assert result["aggregated"]["entries"] < 2600
    assert result["aggregated"]["live_bytes"] <= result["plain"]["live_bytes"]
    assert f"{result['aggregated']['entries']}" in text(result)
