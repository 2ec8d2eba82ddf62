"""The RIB's rows against the FIB's, in bulk: what the FIB should hold instead.

    for rows, count in differences(entries): ...      # the caller applies each slice at once
    for out, found, seen in missing(entries): ...     # the same in two halves, for `fib verify`

Read only; the work on rows is in C (csrc/verify/verify.c). The FIB's walk allows no changes beside
it. Control only.
"""

from collections.abc import Iterator
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.entries import Entries
from ribcage.shared.memory.rows import ROW_BYTES, new_rows

SLICE = 2048


def rib_slices(entries: Entries) -> Iterator[tuple[Any, int]]:
    """The routes in force as (struct rib_route[], count), in order; the array is used again."""
    cursor, everything = ffi.new("struct rib_cursor *"), ffi.new("struct rib_filter *")
    everything.selected = 1
    routes = ffi.new("struct rib_route[]", SLICE)
    while cursor.state != 2:
        count = lib.rib_walk(entries.rib.handle, cursor, everything, routes, SLICE)
        if count < 0:
            return
        yield routes, count


def missing(entries: Entries) -> Iterator[tuple[Any, int, int]]:
    """Slices of the RIB: rows the FIB has not or otherwise, how many, how many were seen."""
    out, wanted = new_rows(SLICE), entries.handle
    for routes, count in rib_slices(entries):
        yield out, lib.verify_routes(entries.fib.writer.handle, wanted, routes, count, out), count


def surplus(entries: Entries) -> Iterator[tuple[Any, int, int]]:
    """Slices of the FIB: rows the RIB wants otherwise or not at all."""
    out, wanted = new_rows(SLICE), entries.handle
    for rows, count in entries.fib.writer.walk_rows():
        yield out, lib.verify_rows(entries.rib.handle, wanted, rows, count, out), count


def differences(entries: Entries) -> Iterator[tuple[Any, int]]:
    """What the FIB should hold instead, in slices of rows; the caller applies each at once.

    Surplus rows first, so that a full table has room for the missing ones. They are collected
    before any is changed: the FIB's walk does not allow changes beside it.
    """
    wrong: list[bytes] = []
    for out, found, _ in surplus(entries):
        wrong.append(bytes(ffi.buffer(out, found * ROW_BYTES)))
    raw = b"".join(wrong)
    if raw:
        yield ffi.from_buffer("struct route_row[]", bytearray(raw)), len(raw) // ROW_BYTES
    for out, found, _ in missing(entries):
        yield out, found
