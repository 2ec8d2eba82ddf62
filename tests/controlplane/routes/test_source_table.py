"""The table of sources: numbers are stored in a segment that outlives the process."""

import pytest
from ribcage.shared._core import lib

from ribcage.controlplane.routes.sources.contract import Inputs, Source
from ribcage.controlplane.routes.sources.table import (
    NUMBERS,
    OFFERING,
    SOURCES,
    source_name,
)
from ribcage.shared.plan import Plan


def test_numbers_and_names_are_given_once_and_fit_the_segment() -> None:
    numbers = [source.number for source in SOURCES]
    assert len(set(numbers)) == len(numbers) == len(NUMBERS)
    assert all(lib.SOURCE_NONE < number < lib.SOURCE_COUNT for number in numbers)


def test_numbers_stay_what_they_were() -> None:
    """A RIB of the build before holds them; one that is given up is never given again."""
    stored = {"connected": 1, "static": 2, "added": 3, "neighbour": 4, "kernel": 5, "fpm": 6}
    assert stored.items() <= NUMBERS.items()


@pytest.mark.parametrize("source", OFFERING, ids=lambda source: source.name)
def test_a_source_without_links_wants_nothing(source: Source) -> None:
    assert source.offer is not None
    assert list(source.offer(Inputs(Plan("t"))).wanted) == []


def test_an_unknown_number_is_shown_as_it_is() -> None:
    assert source_name(15) == "15"
