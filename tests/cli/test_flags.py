"""The letters before a route, which say where it comes from and how far it got."""

import pytest

from ribcage.cli.listing import flags


@pytest.mark.parametrize(
    ("protocol", "letter"),
    [("added", "A"), ("runtime", "A"), ("neighbour", "N"), ("discard", "D"), (None, "?")],
)
def test_a_source_without_a_letter_of_its_own_has_its_first(
    protocol: str | None, letter: str
) -> None:
    """A new source needs no line in the command."""
    assert flags({"protocol": protocol, "selected": False}) == f"{letter}  "
