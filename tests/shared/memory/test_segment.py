"""Segments: the four states, what is said about each, and who may write."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator

import posix_ipc
import pytest
from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.identity import SegmentKind, SegmentState, expected_side
from ribcage.shared.memory.segment import (
    HugePages,
    Mapped,
    create_segment,
    huge_bytes,
    open_segment,
    remove_segment,
    segment_state,
)

SIZE = 1 << 16


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"/ribcage.test-{secrets.token_hex(4)}.fib"
    yield chosen
    remove_segment(chosen)


def ready(name: str) -> Mapped:
    mapped = create_segment(name, SIZE)
    assert (
        lib.segment_identify(mapped.address, SIZE, lib.segment_format(SegmentKind.FIB), 0xABCD) == 0
    )
    return mapped


def damage(name: str, field: str, value: int) -> RibcageError:
    """The error after one field of a ready line was overwritten."""
    mapped = ready(name)
    setattr(ffi.cast("struct segment_identity *", mapped.address), field, value)
    mapped.close()
    assert segment_state(name, SegmentKind.FIB) is SegmentState.FOREIGN
    with pytest.raises(RibcageError) as caught:
        open_segment(name, SegmentKind.FIB)
    assert (caught.value.code, caught.value.exit_code) == ("E_LAYOUT", 7)
    return caught.value


def test_absent_is_said(name: str) -> None:
    """No such object: its name, and where to look."""
    assert segment_state(name, SegmentKind.FIB) is SegmentState.ABSENT
    with pytest.raises(RibcageError, match=re.escape(f"there is no segment {name}")) as caught:
        open_segment(name, SegmentKind.FIB)
    assert caught.value.code == "E_ABSENT"


@pytest.mark.parametrize("size", [16, SIZE])
def test_initialising_is_never_attached(name: str, size: int) -> None:
    """Shorter than its line, or without its magic: the maker is not done."""
    create_segment(name, size).close()
    assert segment_state(name, SegmentKind.FIB) is SegmentState.INITIALISING
    with pytest.raises(RibcageError, match=f"not ready: it has {size} bytes") as caught:
        open_segment(name, SegmentKind.FIB)
    assert caught.value.code == "E_INITIALISING"


def test_a_foreign_layout_shows_both_sides(name: str) -> None:
    """Another build's layout: both numbers are in the message."""
    mine = expected_side(SegmentKind.FIB).layout
    message = damage(name, "layout_id", 0x91C2).message
    assert f"layout 0x91c2, this build {mine:#x}" in message
    assert "magic" not in message


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("magic", 0x1234, "magic 0x1234, this build 0x"),
        ("major", 9, "major 9, this build 2"),
        ("kind", 3, "kind 3, this build 1"),
        ("header_size", 64, "header_size 64, this build 4096"),
        ("incompat", 4, "features 0x4, this build 0x0"),
        ("segment_size", 1 << 30, f"its line says {1 << 30} bytes, the object has {SIZE}"),
        ("instance_id", 5, "the checksum does not fit"),
    ],
)
def test_what_is_foreign_is_named(name: str, field: str, value: int, said: str) -> None:
    """Only what differs is said, with both sides."""
    assert said in damage(name, field, value).message


def test_ready_is_mapped(name: str) -> None:
    """A ready segment maps with its size, read-only unless asked."""
    ready(name).close()
    with open_segment(name, SegmentKind.FIB) as mapped:
        assert (mapped.size, mapped.state, mapped.writable) == (SIZE, SegmentState.READY, False)
        line = ffi.cast("struct segment_identity *", mapped.address)
        assert (line.instance_id, line.creator_pid) == (0xABCD, os.getpid())


def test_a_name_is_made_once_with_private_mode(name: str) -> None:
    """Exclusive, 0600 whatever the umask, all of its pages there, no descriptor inherited."""
    before = os.umask(0)
    try:
        mapped = create_segment(name, SIZE)
    finally:
        os.umask(before)
    info = os.fstat(mapped.fd)
    assert (info.st_mode & 0o777, info.st_size, info.st_blocks * 512) == (0o600, SIZE, SIZE)
    assert not os.get_inheritable(mapped.fd)
    with pytest.raises(RibcageError, match="exists already"):
        create_segment(name, SIZE)
    mapped.close()
    mapped.close()


def test_too_little_shared_memory_fails_at_once(name: str) -> None:
    """A size beyond /dev/shm is an error with both numbers, and leaves no name behind."""
    with pytest.raises(RibcageError, match=r"needs \d+ MiB, /dev/shm has \d+ MiB left") as caught:
        create_segment(name, 1 << 45)
    assert caught.value.code == "E_SHM_FULL"
    with pytest.raises(posix_ipc.ExistentialError):
        posix_ipc.SharedMemory(name)


def test_a_write_through_a_read_only_mapping_faults_the_writer(name: str) -> None:
    """SIGSEGV for the process that tried, and not one byte changed."""
    mapped = ready(name)
    before = bytes(ffi.buffer(mapped.address, SIZE))
    script = (
        "import sys\n"
        "from ribcage.shared.memory.segment import SegmentKind, open_segment\n"
        "from ribcage.shared._core import ffi\n"
        "m = open_segment(sys.argv[1], SegmentKind.FIB)\n"
        "print('mapped', flush=True)\n"
        "ffi.cast('char *', ffi.cast('uintptr_t', m.address))[100] = b'x'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-11, "mapped\n")
    assert bytes(ffi.buffer(mapped.address, SIZE)) == before
    mapped.close()


class FewPages:
    """The C library, but for a kernel that gives one huge page and no more."""

    def __getattr__(self, name: str) -> object:
        return getattr(lib, name)

    def segment_back(self, fd: int, base: object, size: int, huge: int, units: object) -> int:
        error = int(lib.segment_back(fd, base, size, min(huge, lib.SEGMENT_UNIT), units))
        units[0] = min(1, units[0])  # type: ignore[index]
        return error


def test_required_huge_pages_are_all_there_or_the_segment_is_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`require` where the kernel gives too few: both numbers, the way out, no name left; `try`
    takes what there is."""
    monkeypatch.setattr("ribcage.shared.memory.segment.lib", FewPages())
    size = 3 * lib.SEGMENT_UNIT
    with pytest.raises(RibcageError, match=r"gave [01] of 3 huge pages of 2 MiB") as caught:
        create_segment(name, size, huge=HugePages.REQUIRE)
    assert (caught.value.code, caught.value.exit_code) == ("E_HUGE_PAGES", 5)
    assert segment_state(name, SegmentKind.FIB) is SegmentState.ABSENT
    with create_segment(name, size, huge=HugePages.TRY) as mapped:
        assert huge_bytes(mapped) <= lib.SEGMENT_UNIT


def test_never_means_small_pages(name: str) -> None:
    with create_segment(name, 2 * lib.SEGMENT_UNIT) as mapped:
        ffi.memmove(mapped.address, b"touched", 7)
        assert huge_bytes(mapped) == 0
