"""Where the rings of a worker stand, told as numbers: to a build whose stats objects are others.

    positions = read_positions(stats_fd)         # the old worker, when it holds nothing any more
    write_positions(stats_fd, positions)         # the supervisor, into the object of the next one

    {"0": [next, first, mark, identity], ...}    # by port, those that have a ring

The sockets live on, and the kernel goes on filling their rings where it is: a successor that began
at slot 0 would wait until it comes round. Nothing else of a stats object crosses.
"""

import mmap
from collections.abc import Mapping

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import SIZE

FIELDS = ("ring_next", "ring_first", "ring_mark", "ring_identity")
PORTS = int(lib.FIB_MAX_PORTS)


def read_positions(fd: int) -> dict[str, list[int]]:
    """Of the committed block. OSError or ValueError when the object is not of this build's size."""
    with (
        mmap.mmap(fd, SIZE, prot=mmap.PROT_READ) as memory,
        ffi.from_buffer("struct stats_object[]", memory) as object_,
    ):
        ports = object_[0].block[object_[0].sequence & 1].port
        rows = {str(port): [int(getattr(ports[port], name)) for name in FIELDS]
                for port in range(PORTS)}  # fmt: skip
    return {port: row for port, row in rows.items() if row[-1] != 0}


def write_positions(fd: int, positions: object) -> None:
    """Into a fresh object. E_STATS for what is no table of positions: a worker said it."""
    checked = _checked(positions)
    with (
        mmap.mmap(fd, SIZE) as memory,
        ffi.from_buffer("struct stats_object[]", memory, require_writable=True) as object_,
    ):
        for port in range(PORTS):
            row = checked.get(port, [0] * len(FIELDS))
            for name, value in zip(FIELDS, row, strict=True):
                setattr(object_[0].block[0].port[port], name, value)


def _checked(positions: object) -> dict[int, list[int]]:
    if not isinstance(positions, Mapping):
        raise RibcageError("E_STATS", f"positions are {type(positions).__name__}")
    found: dict[int, list[int]] = {}
    for port, row in positions.items():
        number = isinstance(port, str) and port.isascii() and port.isdigit() and len(port) < 4
        right = isinstance(row, list) and len(row) == len(FIELDS) and all(
            type(value) is int and 0 <= value <= 0xFFFFFFFF for value in row
        )  # fmt: skip
        if not number or int(port) >= PORTS or not right:
            raise RibcageError("E_STATS", f"position of port {port!r:.10} is {row!r:.60}")
        found[int(port)] = list(row)
    return found
