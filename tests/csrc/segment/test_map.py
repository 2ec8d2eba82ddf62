"""Shared objects are mapped where huge pages fit, and have all of their memory from the start."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ribcage.shared._core import ffi, lib

UNIT = lib.SEGMENT_UNIT
SIZE = 3 * UNIT + 5 * 4096  # three whole units and a rest


@pytest.fixture
def memory() -> Iterator[int]:
    fd = os.memfd_create("segment-map", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    yield fd
    os.close(fd)


def mapped(fd: int, size: int, write: bool) -> tuple[Any, int]:
    """(address, error) as segment_map() gives them."""
    error = ffi.new("int32_t *")
    address = lib.segment_map(fd, size, write, error)
    return address, error[0]


def back(fd: int, address: Any, huge: int) -> tuple[int, int]:
    """(error, units in huge pages) as segment_back() gives them."""
    units = ffi.new("uint32_t *")
    return lib.segment_back(fd, address, SIZE, huge, units), units[0]


def number(address: Any) -> int:
    return int(ffi.cast("uintptr_t", address))


def mappings(fd: int) -> list[tuple[int, int]]:
    """(first byte, KiB in huge pages) of every mapping of the object in this process."""
    inode = os.fstat(fd).st_ino
    found: list[tuple[int, int]] = []
    mine = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-[0-9a-f]+ \S+ \S+ \S+ (\d+)", line):
            mine = int(head[2]) == inode
            if mine:
                found.append((int(head[1], 16), 0))
        elif mine and line.startswith("ShmemPmdMapped:"):
            found[-1] = (found[-1][0], int(line.split()[1]))
    return found


def touch(address: Any, size: int) -> int:
    """Reads a byte of every page."""
    data = ffi.cast("volatile uint8_t *", address)
    return sum(data[at] for at in range(0, size, 4096))


def test_every_mapping_begins_at_a_unit_and_shows_the_same_bytes(memory: int) -> None:
    """Writer and reader: two addresses, both aligned, one object; nothing is mapped beside it."""
    writer, error = mapped(memory, SIZE, True)
    reader, _ = mapped(memory, SIZE, False)
    try:
        assert error == 0
        assert number(writer) % UNIT == 0 and number(reader) % UNIT == 0
        assert {first for first, _ in mappings(memory)} == {number(writer), number(reader)}
        ffi.buffer(writer, SIZE)[SIZE - 4 :] = b"last"
        assert ffi.buffer(reader, SIZE)[SIZE - 4 :] == b"last"
    finally:
        lib.segment_unmap(writer, SIZE)
        lib.segment_unmap(reader, SIZE)
    assert mappings(memory) == []


def test_a_backed_object_has_all_of_its_memory(memory: int) -> None:
    """Every page is there, also behind the last whole unit, and reads as zero."""
    address, _ = mapped(memory, SIZE, True)
    try:
        assert os.fstat(memory).st_blocks == 0
        assert back(memory, address, SIZE)[0] == 0
        assert os.fstat(memory).st_blocks * 512 >= SIZE
        assert touch(address, SIZE) == 0
    finally:
        lib.segment_unmap(address, SIZE)


def test_whole_units_are_huge_pages_for_writer_and_reader(memory: int) -> None:
    """Both processes' page tables hold the three units as one entry each."""
    writer, _ = mapped(memory, SIZE, True)
    reader, _ = mapped(memory, SIZE, False)
    try:
        error, units = back(memory, writer, SIZE)
        assert error == 0
        assert units <= SIZE // UNIT
        if units == 0:
            pytest.skip("this kernel gives shared memory no huge pages (MADV_COLLAPSE)")
        touch(writer, SIZE)
        touch(reader, SIZE)
        assert [kib for _, kib in mappings(memory)] == [units * UNIT >> 10] * 2
    finally:
        lib.segment_unmap(writer, SIZE)
        lib.segment_unmap(reader, SIZE)


def test_no_huge_pages_unless_wanted(memory: int) -> None:
    address, _ = mapped(memory, SIZE, True)
    try:
        assert back(memory, address, 0) == (0, 0)
        touch(address, SIZE)
        assert [kib for _, kib in mappings(memory)] == [0]
    finally:
        lib.segment_unmap(address, SIZE)


@pytest.mark.parametrize("size", [0, 1 << 63, (1 << 64) - 1])
def test_an_impossible_size_is_refused(memory: int, size: int) -> None:
    assert mapped(memory, size, False) == (ffi.NULL, -errno.EINVAL)


def test_a_descriptor_that_cannot_be_mapped_leaves_nothing_reserved(memory: int) -> None:
    """EACCES for writing through a descriptor opened read-only; the address space is given back."""
    fd = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC)
    before = len(Path("/proc/self/maps").read_text().splitlines())
    try:
        for _ in range(20):
            assert mapped(fd, SIZE, True) == (ffi.NULL, -errno.EACCES)
    finally:
        os.close(fd)
    assert len(Path("/proc/self/maps").read_text().splitlines()) <= before + 2
