"""The echo probe: what a long row of requests needs."""

import pytest

from ribcage.lab.probe.echo import HEADER, _request


@pytest.mark.parametrize("family", [4, 6])
def test_sequence_numbers_begin_again(family: int) -> None:
    """The field has 16 bits; a lesson sends more packets than that."""
    told = [HEADER.unpack(_request(family, 7, n))[4] for n in (1, 65_535, 65_536, 200_000)]
    assert told == [1, 65_535, 0, 3392]
