"""Stats objects: made by the supervisor, written by their worker, read by who is handed them.

Use: `fd = create_stats(names, 0, instance_id)` (supervisor), `StatsReader(fd).snapshot()`
(control, tools; O_RDONLY is enough). A snapshot is one committed state, never a torn one: it
balances, also when the worker was killed in the middle of a batch (csrc/layout/stats_layout.h).

An object is a memfd: no name to open or remove it by, and sealed, so that a worker, who has to
write to it, cannot make it shorter under a reader (SIGBUS). What it writes is its word and
nothing more: a reader copies each value once, and believes it where it cannot matter.

Counters are packets unless they say bytes; a super-frame (GSO) is one packet. They live as long
as the object: a worker's successor goes on counting.
"""

import fcntl
import mmap
import os
from dataclasses import dataclass, field
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.addresses import Address
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fields import read_address
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.segment import map_segment
from ribcage.shared.process.names import Names
from ribcage.shared.refusals import refused

STATES = ("starting", "busy", "polling", "quiesced", "stopped")
SIZE = ffi.sizeof("struct stats_object")
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
UNUSABLE = 74
"""Exit status of a worker that cannot go on counting in its object: it needs a new one."""


def _reasons() -> dict[int, str]:
    names = ((i, lib.drop_reason_name(i)) for i in range(lib.DROP_REASONS))
    return {i: ffi.string(name).decode() for i, name in names if name != ffi.NULL}


REASONS = _reasons()  # number -> name, the closed list


@dataclass(frozen=True, slots=True)
class PortCounters:
    """One worker's share of one port."""

    rx: int
    rx_bytes: int
    tx: int
    tx_bytes: int
    ring_drops: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """rx = forwarded + delivered + sum(drops) + held; `balanced` says whether it is so."""

    rx: int = 0
    forwarded: int = 0
    delivered: int = 0
    held: int = 0
    from_host: int = 0
    to_host: int = 0
    icmp_sent: int = 0
    icmp_limited: int = 0
    icmp_lost: int = 0
    batches: int = 0
    gso: int = 0
    drops: dict[str, int] = field(default_factory=dict)  # every known reason, also at 0
    batch_size: tuple[int, ...] = ()  # batches of 1, 2-3, 4-7, ... 128+ packets
    ports: dict[int, PortCounters] = field(default_factory=dict)  # those with any counter
    balanced: bool = True

    def to_json(self) -> dict[str, object]:
        return {
            **{name: getattr(self, name) for name in TOTALS},
            "drops": {name: count for name, count in self.drops.items() if count},
            "batch_size": list(self.batch_size),
            "ports": {
                str(index): {name: getattr(port, name) for name in PortCounters.__slots__}
                for index, port in self.ports.items()
            },
            "balanced": self.balanced,
        }


TOTALS = (
    "rx", "forwarded", "delivered", "held", "from_host", "to_host", "icmp_sent", "icmp_limited",
    "icmp_lost", "batches", "gso",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Life:
    """Who works here; times are CLOCK_MONOTONIC ns."""

    pid: int
    worker: int
    state: str
    heartbeat: int
    waiting: bool
    restarts: int
    started_ns: int
    events_sent: int
    events_lost: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest generation a batch began with (`message`: that its lookups used), and when (t4).

    `table` says of which FIB (`born` in its header); it and `generation` belong together. A worker
    at work may have stored a newer t4 already: then t4 is that of a later generation.
    """

    generation: int
    t4_ns: int
    read_retries: int
    table: int


@dataclass(frozen=True, slots=True)
class Example:
    """The last packet dropped for a reason, one a batch; a hint, may be torn."""

    source: Address
    target: Address
    mono_ns: int
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class FrameAside:
    """A frame that ended a worker twice: its first bytes, from the Ethernet header on."""

    mono_ns: int
    port: int
    length: int
    data: bytes


class StatsReader:
    """Maps one object read-only; closes nothing but its own mapping."""

    def __init__(self, fd: int) -> None:
        """E_LAYOUT or E_INITIALISING when the object is not a ready one of this build."""
        self._mapped = map_segment(fd, SegmentKind.STATS)
        if self._mapped.size < SIZE:
            size = self._mapped.size
            self._mapped.close()
            raise RibcageError("E_LAYOUT", f"a stats object of {size} bytes, it has {SIZE}")
        self._object: Any = ffi.cast("struct stats_object *", self._mapped.address)
        self._known = ffi.new("uint64_t[]", lib.STATS_WAITS)
        self._waits = ffi.new("struct stats_wait[]", lib.STATS_WAITS)

    def close(self) -> None:
        """Unmaps. A look afterwards is an exception; through a stale pointer it would be SIGSEGV,
        as through a null one (cffi checks neither)."""
        self._object = None
        self._mapped.close()

    def snapshot(self) -> Snapshot:
        """One committed state. RibcageError E_STATS_BUSY after 1000 torn copies (never seen)."""
        block = ffi.new("struct stats_block *")
        if lib.stats_read(self._object, block) != 0:
            raise RibcageError("E_STATS_BUSY", "the worker outran 1000 copies of its counters")
        return _snapshot(block)

    def balanced(self) -> bool:
        return self.snapshot().balanced

    def life(self) -> Life:
        life = self._object.life
        number = life.state  # read once: the worker may store another one between two reads
        state = STATES[number] if number < len(STATES) else f"unknown-{number}"
        return Life(
            life.pid, life.worker, state, life.heartbeat, bool(life.waiting), life.restarts,
            life.started_ns, life.events_sent, life.events_lost,
        )  # fmt: skip

    def set_aside(self, count: int) -> list[FrameAside]:
        """The last of the `count` frames that were set aside, oldest first. A hint, as examples."""
        found = []
        for number in range(max(0, count - lib.ASIDE_FRAMES), count):
            row = self._object.aside[number % lib.ASIDE_FRAMES]
            captured = min(row.captured, lib.ASIDE_BYTES)
            data = bytes(ffi.buffer(row.bytes, captured))
            found.append(FrameAside(row.mono_ns, row.port, row.length, data))
        return found

    def taken(self, port: int) -> int:
        """Frames read from a port's ring so far: what goes up while its worker does work. Of the
        committed block, perhaps torn: good for nothing but a comparison."""
        counters = self._object.block[self._object.sequence & 1].port[port]
        return int(counters.rx - counters.ring_drops)

    def waiting(self) -> bool:
        """The worker holds packets for a neighbour: ring its bell after publishing."""
        return bool(self._object.life.waiting)

    def new_waits(self, since_ns: int = 0) -> list[tuple[int, Address]]:
        """(port, address) that packets wait for, those asked for since the last call and not
        before `since_ns`; at most STATS_WAITS, whatever the worker writes."""
        found = []
        for row in self._waits[0 : lib.waits_read(self._object, self._known, self._waits)]:
            if row.asked_ns < since_ns or row.where >> 24:
                continue
            raw = ffi.cast("uint8_t *", ffi.addressof(row, "address"))
            address = read_address(raw, row.where >> 16)
            if address is not None:
                found.append((row.where & 0xFFFF, address))
        return found

    def seen(self) -> Seen:
        seen = ffi.new("struct stats_seen *")
        lib.stats_read_seen(self._object, seen)
        return Seen(seen.generation, seen.t4_ns, seen.read_retries, seen.table)

    def histogram(self) -> list[int]:
        """t4 - t0 of generations this worker was first to see: bucket i is [2^i, 2^(i+1)) ns."""
        return list(self._object.visible)

    def example(self, reason: int | str) -> Example | None:
        """The last packet dropped for this reason (number or name), None if there was none."""
        number = reason if isinstance(reason, int) else _number(reason)
        if not 0 <= number < lib.DROP_REASONS:
            return None
        row = self._object.example[number]
        if row.mono_ns == 0:
            return None
        source, target = (read_address(one, row.family) for one in (row.source, row.target))
        if source is None or target is None:
            return None  # torn, or of no IP packet
        return Example(source, target, row.mono_ns, row.protocol, row.port)


def create_stats(names: Names, index: int, instance_id: int) -> int:
    """Makes the object of worker slot `index`; a read-write, close-on-exec descriptor.

    All of its memory is there at once, its size is final. Mode 0600: who is handed a read-only
    descriptor and has another uid cannot open it again for writing. OSError when memory is short.
    For the supervisor.
    """
    fd = os.memfd_create(names.stats(index), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(fd, 0o600)
        os.posix_fallocate(fd, 0, SIZE)
        format_stats(fd, index, instance_id)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_stats(fd: int) -> bool:
    """Whether a descriptor that came from somebody else is memory of SIZE bytes for good: mapping
    and reading it cannot fail later. What is in it is not looked at."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return seals & SEALS == SEALS and os.fstat(fd).st_size == SIZE


def format_stats(fd: int, index: int, instance_id: int) -> None:
    """Writes the identity of a fresh, zeroed object of SIZE bytes behind any descriptor."""
    with mmap.mmap(fd, SIZE) as memory, ffi.from_buffer(memory, require_writable=True) as base:
        _format(base, index, instance_id)


def keep_rings(old: int, new: int) -> None:
    """Tells a fresh object where the rings of the one it replaces stand: the sockets live on, and
    the kernel goes on filling them there. Descriptors; nothing else of `old` is trusted."""
    with (
        mmap.mmap(old, SIZE) as was,
        mmap.mmap(new, SIZE) as made,
        ffi.from_buffer("struct stats_object[]", was) as before,
        ffi.from_buffer("struct stats_object[]", made, require_writable=True) as after,
    ):
        known = before[0].block[before[0].sequence & 1].port
        for port, row in zip(after[0].block[0].port, known, strict=True):
            for name in ("ring_next", "ring_first", "ring_mark", "ring_identity"):
                setattr(port, name, getattr(row, name))


def _format(base: Any, index: int, instance_id: int) -> None:
    error = lib.stats_create(base, SIZE, index, instance_id)
    if error != 0:
        raise refused("stats_create", error, index=index)


def total(snapshots: list[Snapshot]) -> Snapshot:
    """The sum over workers."""
    ports: dict[int, PortCounters] = {}
    for snapshot in snapshots:
        for index, port in snapshot.ports.items():
            old = ports.get(index, PortCounters(0, 0, 0, 0, 0))
            ports[index] = PortCounters(
                *(getattr(old, name) + getattr(port, name) for name in PortCounters.__slots__)
            )
    return Snapshot(
        **{name: sum(getattr(s, name) for s in snapshots) for name in TOTALS},
        drops={name: sum(s.drops[name] for s in snapshots) for name in REASONS.values()},
        batch_size=tuple(
            sum(sizes) for sizes in zip(*(s.batch_size for s in snapshots), strict=True)
        ),
        ports=dict(sorted(ports.items())),
        balanced=all(s.balanced for s in snapshots),
    )


def _snapshot(block: Any) -> Snapshot:
    ports = {}
    for index, row in enumerate(block.port):
        counters = PortCounters(row.rx, row.rx_bytes, row.tx, row.tx_bytes, row.ring_drops)
        if any((row.rx, row.tx, row.ring_drops)):
            ports[index] = counters
    return Snapshot(
        **{name: getattr(block, name) for name in TOTALS},
        drops={name: block.drops[i] for i, name in REASONS.items()},
        batch_size=tuple(block.batch_size),
        ports=ports,
        balanced=bool(lib.stats_balanced(block)),
    )


def _number(name: str) -> int:
    return next((i for i, known in REASONS.items() if known == name), -1)
