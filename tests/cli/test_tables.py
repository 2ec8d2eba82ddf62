"""Tables and numbers for people: fitted, never cut."""

import pytest

from ribcage.cli.answer.tables import hanging, table, wrapped
from ribcage.cli.answer.units import age, rate, size

HEADER = ("ROLE", "PID", "CAPS", "IF IT DIES")
ROWS = [("control", 17, "CHOWN,NET_ADMIN,NET_RAW", "forwarding goes on; updates stop")]


def test_a_table_that_fits_is_left_alone() -> None:
    """Numbers to the right, words to the left, no blanks at the end."""
    assert table(("A", "NUMBER"), [("x", 5), ("yy", 123)], "NUMBER", 80) == [
        "A   NUMBER",
        "x        5",
        "yy     123",
    ]


def test_columns_give_way_in_the_order_they_are_named() -> None:
    """CAPS is broken at its commas before the sentence is."""
    assert table(HEADER, ROWS, "PID", 58, ("CAPS", "IF IT DIES")) == [
        "ROLE     PID  CAPS        IF IT DIES",
        "control   17  CHOWN,      forwarding goes on; updates stop",
        "              NET_ADMIN,",
        "              NET_RAW",
    ]


def test_what_does_not_fit_at_all_becomes_pairs() -> None:
    """Every value is there, beside its name."""
    lines = table(HEADER, ROWS, "PID", 40)
    assert lines[0] == "control"
    assert max(map(len, lines)) <= 40
    text = " ".join(" ".join(lines).split())
    for name, value in zip(HEADER[1:], ROWS[0][1:], strict=True):
        assert f"{name} {value}" in text


@pytest.mark.parametrize("width", range(8, 60))
def test_wrapping_loses_nothing(width: int) -> None:
    """Joined again it is the same text; a line is longer only where one word is."""
    text = "a, bb,ccc dddd; NET_ADMIN,NET_RAW and something  double"
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(len(line) <= width or " " not in line for line in lines)


def test_a_long_text_hangs_below_itself() -> None:
    """Under its own first word, on a terminal alone."""
    assert hanging("ok  ", "one two three", 12) == ["ok  one two", "    three"]
    assert hanging("ok  ", "one two three", None) == ["ok  one two three"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00"), (312, "00:05:12"), (86399, "23:59:59"), (86400 * 3 + 4 * 3600, "3d04h00m"),
     (86400 * 87, "12w3d00h"), (-5, "00:00:00")],
)  # fmt: skip
def test_an_age_is_written_as_routers_do(seconds: int, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("count", "seconds", "text"),
    [(0, 1.0, "0"), (7, 2.0, "3.5"), (812_400, 1.0, "812k"), (5_210_000, 1.0, "5.21M"),
     (999_600, 1.0, "1M"), (10**16, 1.0, "10P"), (5, 0.0, "-"), (None, 1.0, "-")],
)  # fmt: skip
def test_a_rate_has_three_digits(count: object, seconds: float, text: str) -> None:
    assert rate(count, seconds) == text


def test_sizes_go_on_beyond_gib() -> None:
    assert size(3 << 40) == "3.0 TiB"
