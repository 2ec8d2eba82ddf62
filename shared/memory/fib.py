"""Reads the FIB: lookups, matches, records, stamps. Any process; under the default strategy without
a lock.

Use: `with FibReader(fd) as fib: fib.lookup("192.0.2.7")`; `fd` is a descriptor of the segment
(a worker is handed one opened O_RDONLY) or a Mapped of segment.py. Lookups of one call
are one consistent batch. The packet path uses the same C functions through `handle`; one cffi
call costs about 0.5 us, so Python asks in batches too.

Under the default strategy it never writes shared memory and never waits; a reader that the writer
outran a thousand times, or that did not get the lock of another strategy, gets E_FIB_BUSY. One
FibReader belongs to one thread.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.addresses import Address, Network, packed_address
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_records import (
    Adjacency,
    Answer,
    Group,
    Port,
    Stamp,
)
from ribcage.shared.memory.fib_sync import Locks, strategy_name
from ribcage.shared.memory.fields import prefix_of
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.segment import Mapped, map_segment
from ribcage.shared.refusals import refused

LookupKey = Address | bytes | str  # bytes are packed; text is for tests and tools


@dataclass(frozen=True, slots=True)
class Match:
    """The longest matching prefix and its group."""

    prefix: Network
    group: int


def fields(struct: Any) -> dict[str, int]:
    """The numbers of a C struct by name; padding left out."""
    return {
        name: int(getattr(struct, name))
        for name, field in ffi.typeof(struct).fields
        if field.type.kind == "primitive" and not name.startswith(("unused", "reserved"))
    }


class FibReader:
    """A read-only view of one FIB segment."""

    def __init__(self, source: int | Mapped, locks: Locks | None = None) -> None:
        """E_INITIALISING or E_LAYOUT when the segment is not ready. The descriptor stays the
        caller's; a Mapped is closed with the reader. `locks`: needed for lookups (not for the
        header) under rwlock, sem_undo and mutex; the caller closes them later than the reader."""
        mapped = source if isinstance(source, Mapped) else map_segment(source, SegmentKind.FIB)
        self.mapped = mapped
        self.handle = ffi.new("struct fib_reader *")
        """`struct fib_reader *` for C callers; valid until close()."""
        if lib.fib_reader_attach(self.handle, mapped.address, mapped.size) != 0:
            mapped.close()
            raise RibcageError(
                "E_LAYOUT", "the FIB uses a lookup engine or strategy this build does not know"
            )
        self._header = ffi.cast("struct fib_header *", mapped.address)
        if locks is not None:
            self._lock(locks)

    def _lock(self, locks: Locks) -> None:
        if error := lib.fib_reader_locks(self.handle, locks.handle):
            raise refused("fib_locks", error)

    def move_to(self, source: int | Mapped, locks: Locks | None = None) -> None:
        """Reads another segment from now on; whoever holds this reader holds the same. On an error
        it goes on with the one it had."""
        other = FibReader(source, locks)
        lib.fib_reader_detach(self.handle)
        self.mapped.close()
        self.mapped, self.handle, self._header = other.mapped, other.handle, other._header

    def close(self) -> None:
        lib.fib_reader_detach(self.handle)
        self.mapped.close()

    def __enter__(self) -> "FibReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- lookups ----

    def lookup(self, address: LookupKey, hash: int = 0) -> Answer:
        """Everything a packet to `address` with this flow hash would get."""
        return self.lookup_batch([(address, hash)])[0]

    def lookup_batch(self, keys: Sequence[tuple[LookupKey, int]]) -> list[Answer]:
        """Answers to (address, hash) pairs; of one generation where the strategy promises that."""
        n = len(keys)
        answers = ffi.new("struct fib_answer[]", n)
        generation = ffi.new("uint64_t *")
        _ready(lib.fib_lookup(self.handle, _keys(keys), answers, n, generation))
        return [Answer.from_c(answers[i]) for i in range(n)]

    def lookup_groups(self, addresses: Sequence[LookupKey]) -> list[int]:
        """Group ids alone: what verify and the tests compare."""
        n = len(addresses)
        groups = ffi.new("uint32_t[]", n)
        keys = _keys([(address, 0) for address in addresses])
        _ready(lib.fib_lookup_groups(self.handle, keys, groups, n))
        return list(ffi.unpack(groups, n)) if n else []

    def match(self, address: LookupKey) -> Match | None:
        """The longest matching prefix, None when there is none."""
        row = ffi.new("struct route_row *")
        _ready(lib.fib_lookup_match(self.handle, _keys([(address, 0)]), row))
        return Match(prefix_of(row), row.nexthop) if row.nexthop else None

    # ---- records: None when the id is not set ----

    def group(self, id: int) -> Group | None:
        room = ffi.new("uint64_t[]", lib.fib_group_room() // 8)
        group = ffi.cast("struct fib_group *", room)
        return Group.from_c(group) if self._there(lib.fib_read_group, id, group) else None

    def adjacency(self, id: int) -> Adjacency | None:
        record = ffi.new("struct fib_adjacency *")
        there = self._there(lib.fib_read_adjacency, id, record)
        return Adjacency.from_c(record) if there else None

    def port(self, index: int) -> Port | None:
        record = ffi.new("struct fib_port *")
        return Port.from_c(record) if self._there(lib.fib_read_port, index, record) else None

    def stamp(self, generation: int) -> Stamp | None:
        """The times of that publish; None when the ring has moved on."""
        stamp = ffi.new("struct fib_stamp *")
        if lib.fib_read_stamp(self.handle, generation, stamp) != 0:
            return None
        return Stamp(**fields(stamp[0]))

    # ---- the header ----

    @property
    def generation(self) -> int:
        return int(lib.fib_generation(self.handle))

    @property
    def retries(self) -> int:
        """Batches looked up again since this reader attached."""
        return int(self.handle.retries)

    def header(self) -> dict[str, int]:
        """The identity line."""
        return fields(self._header.identity)

    def geometry(self) -> dict[str, int]:
        return fields(self._header.geometry)

    def published(self) -> dict[str, int]:
        """Epoch, generation, digest, counts, arena, each number alone whole; under `message`
        those of the snapshot, which may be older than `generation`. E_FIB_BUSY as for lookups."""
        found = ffi.new("struct fib_published *")
        _ready(lib.fib_read_published(self.handle, found))
        return fields(found[0])

    @property
    def strategy(self) -> str:
        """The config's word: epoch, seqlock, ..."""
        return strategy_name(self._header.geometry.strategy)

    def _there(self, read: Any, id: int, out: Any) -> bool:
        result = read(self.handle, id, out)
        if result == -errno.ENOENT:
            return False
        _ready(result)
        return True


def _keys(keys: Sequence[tuple[LookupKey, int]]) -> Any:
    array = ffi.new("struct fib_key[]", len(keys))
    for key, (address, flow) in zip(array, keys, strict=True):
        packed = packed_address(address)
        ffi.memmove(key.address, packed, len(packed))
        key.family, key.hash = 4 if len(packed) == 4 else 6, flow & 0xFFFFFFFF
    return array


def _ready(result: int) -> None:
    if result != 0:
        raise refused("fib_lookup", result, retries=lib.FIB_RETRIES)
