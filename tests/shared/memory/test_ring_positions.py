"""Where rings stand crosses from one build's stats object to another's, checked on the way."""

import os

import pytest

from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.ring_positions import read_positions, write_positions
from ribcage.shared.memory.stats import SIZE, format_stats


def made() -> int:
    fd = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    format_stats(fd, 0, 1)
    return fd


def test_positions_that_were_written_are_read() -> None:
    """Those of ports without a ring are left out, and zero in the object."""
    fd = made()
    assert read_positions(fd) == {}
    positions = {"0": [17, 16, 99, 0xFFFFFFFF], "31": [1, 1, 1, 7]}
    write_positions(fd, positions)
    assert read_positions(fd) == positions
    write_positions(fd, {"31": [1, 1, 1, 7]})
    assert read_positions(fd) == {"31": [1, 1, 1, 7]}


@pytest.mark.parametrize(
    "positions",
    [
        None, [], {"32": [0, 0, 0, 1]},
        {"-1": [0, 0, 0, 1]}, {"x": [0, 0, 0, 1]}, {0: [0, 0, 0, 1]},
        {"0": [0, 0, 0]}, {"0": [0, 0, 0, 1 << 32]}, {"0": [0, 0, -1, 1]}, {"0": [0, 0, True, 1]},
        {"0": "0001"},
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused_and_nothing_written(positions: object) -> None:
    """A worker says it, which may be anybody's by now."""
    fd = made()
    with pytest.raises(RibcageError) as refused:
        write_positions(fd, positions)
    assert refused.value.code == "E_STATS"
    assert read_positions(fd) == {}
