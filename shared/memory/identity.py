"""What the first 64 bytes of a segment say, and what this build expects of them.

    state, why = check(address, size, SegmentKind.FIB)
    raise unready(name, SegmentKind.FIB, state, why)      # E_ABSENT, E_INITIALISING, E_LAYOUT

    absent        no such object
    initialising  its maker has not stored the magic yet (or died before)
    foreign       made by another build, version, or for another purpose: both sides are shown
    ready         mapped and usable

The check is C's (csrc/segment/segment.h); the words are here. Any process; used by segment.py.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError

SHM = "/dev/shm"


class SegmentKind(IntEnum):
    FIB = lib.SEGMENT_FIB
    RIB = lib.SEGMENT_RIB
    STATS = lib.SEGMENT_STATS
    SYNC = lib.SEGMENT_SYNC


class SegmentState(IntEnum):
    ABSENT = lib.SEGMENT_ABSENT
    INITIALISING = lib.SEGMENT_INITIALISING
    FOREIGN = lib.SEGMENT_FOREIGN
    READY = lib.SEGMENT_READY


@dataclass(frozen=True, slots=True)
class Side:
    """What an identity line says, or what this build expects of one."""

    magic: int
    kind: int
    major: int
    layout: int
    header_size: int
    incompat: int

    def differences(self, expected: "Side") -> str:
        """`layout 0x91c2, this build 0x77ab; ...`: only what differs, both sides."""
        words = {"magic": "#x", "layout": "#x", "incompat": "#x"}
        found = []
        for field in ("magic", "kind", "major", "layout", "header_size"):
            mine, theirs = getattr(expected, field), getattr(self, field)
            if mine != theirs:
                form = words.get(field, "d")
                found.append(f"{field} {theirs:{form}}, this build {mine:{form}}")
        if self.incompat & ~expected.incompat:
            found.append(f"features {self.incompat:#x}, this build {expected.incompat:#x}")
        return "; ".join(found)


def expected_side(kind: SegmentKind) -> Side:
    """What this build writes into, and asks of, a segment of this kind."""
    expect = ffi.new("struct segment_expect *")
    if lib.segment_expected(lib.segment_format(kind), expect) != 0:
        raise RibcageError("E_KIND", f"this build knows no segments of kind {kind.name}")
    return Side(
        expect.magic,
        expect.kind,
        expect.major,
        expect.layout_id,
        expect.header_size,
        expect.incompat_known,
    )


def layouts() -> dict[str, str]:
    """The layout id of each kind of segment this build makes; another build's are refused."""
    expect = ffi.new("struct segment_expect *")
    found = {}
    for kind in SegmentKind:
        if lib.segment_expected(lib.segment_format(kind), expect) == 0:
            found[kind.name.lower()] = f"{expect.layout_id:#018x}"
    return found


def _side(address: Any) -> Side:
    line = ffi.cast("struct segment_identity *", address)
    return Side(line.magic, line.kind, line.major, line.layout_id, line.header_size, line.incompat)


def unready(name: str, kind: SegmentKind, state: SegmentState, why: str) -> RibcageError:
    if state is SegmentState.ABSENT:
        return RibcageError(
            "E_ABSENT",
            f"there is no segment {name}",
            hint="is the router of this name running? `ribcage ps` tells",
            exit_code=Exit.NO_DAEMON,
        )
    if state is SegmentState.INITIALISING:
        return RibcageError(
            "E_INITIALISING",
            f"segment {name} is not ready: {why}",
            hint="its maker is still at work, or died at it; a new start removes it",
            exit_code=Exit.TIMEOUT,
        )
    return RibcageError(
        "E_LAYOUT",
        f"segment {name} is not a {kind.name} segment of this build: {why}",
        hint="stop the router with the build that made it"
        + (f", or remove {SHM}{name}" if name.startswith("/") else ""),
        exit_code=Exit.INTERNAL,
    )


def check(address: Any, size: int, kind: SegmentKind) -> tuple[SegmentState, str]:
    """The state, and in words why it is not ready."""
    state = SegmentState(lib.segment_check(address, size, lib.segment_format(kind)))
    if state is SegmentState.READY:
        return state, ""
    if state is SegmentState.INITIALISING:
        return state, f"it has {size} bytes and no magic yet"
    why = _side(address).differences(expected_side(kind))
    line = ffi.cast("struct segment_identity *", address)
    if not why and line.segment_size > size:
        why = f"its line says {line.segment_size} bytes, the object has {size}"
    return state, why or "its identity line is damaged (the checksum does not fit)"
