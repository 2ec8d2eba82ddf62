"""A FIB in this process's own memory, for tests: no names, no locks, nothing to remove."""

import mmap
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.shared.addresses import Network
from ribcage.shared.memory.fib_engines import default_engine, engine_id, engines
from ribcage.shared.memory.fib_records import Adjacency, AdjacencyState, FibKind, Group, Hop
from ribcage.shared.memory.fib_sync import (
    WITH_SEGMENT,
    WITH_SEMAPHORE,
    create_semaphore,
    remove_semaphore,
)
from ribcage.shared.memory.fields import prefix_of, set_address
from ribcage.shared.memory.rows import Row, key_of, rows_of

SMALL = FibParams(max_routes4=64, max_routes6=64, max_groups=64, max_adjacencies=64)
# Every engine of the build for the families it serves, the default for the other one: (IPv4, IPv6).
ENGINES = {
    name: (
        engine_id(4, name if name in engines(4) else default_engine(4)),
        engine_id(6, name if name in engines(6) else default_engine(6)),
    )
    for name in dict.fromkeys([*engines(4), *engines(6)])
}


def on(params: FibParams, engine: str) -> FibParams:
    engine4, engine6 = ENGINES[engine]
    return replace(params, engine4=engine4, engine6=engine6)


class FibMemory:
    """One segment with its writer and a reader, all failures as negative numbers."""

    def __init__(self, params: FibParams = SMALL) -> None:
        self.params = params
        self.size = params.segment_size()
        self.memory = mmap.mmap(-1, self.size)
        self.base = ffi.from_buffer("char[]", self.memory, require_writable=True)
        assert lib.fib_create(self.base, self.size, params.to_c(7)) == 0
        self.locks = self._locks(params.sync)
        self.header = ffi.cast("struct fib_header *", self.base)
        self.recovery = ffi.new("struct fib_recovery *")
        self.writer: Any = ffi.NULL
        self.open()
        self.reader = ffi.new("struct fib_reader *")
        assert lib.fib_reader_attach(self.reader, self.base, self.size) == 0
        assert lib.fib_reader_locks(self.reader, self.locks) == 0

    def _locks(self, sync: str) -> Any:
        locks = ffi.new("struct fib_locks *", {"semaphore": -1})
        if sync in WITH_SEMAPHORE:
            _, locks.semaphore = create_semaphore()
        if sync in WITH_SEGMENT:
            locks.size = ffi.sizeof("struct sync_segment")
            self.words = ffi.new("struct sync_segment *")
            locks.memory = self.words
            assert lib.sync_create(locks.memory, locks.size, 7) == 0
        return locks

    @property
    def now(self) -> Any:
        """The header readers use now."""
        return lib.fib_header_now(self.base)

    def open(self) -> None:
        """(Again) the writer, as a successor would."""
        lib.fib_writer_close(self.writer)
        self.writer = lib.fib_writer_open_locked(self.base, self.size, self.locks, self.recovery)
        assert self.writer != ffi.NULL

    def close(self) -> None:
        lib.fib_writer_close(self.writer)
        self.writer = ffi.NULL
        lib.fib_reader_detach(self.reader)
        if self.locks.semaphore >= 0:
            remove_semaphore(self.locks.semaphore)
        ffi.release(self.base)
        self.memory.close()

    def __enter__(self) -> "FibMemory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def adjacency(self, id: int, port: int = 0, mtu: int = 1500) -> int:
        record = Adjacency(Hop(port), AdjacencyState.RESOLVED, mtu).to_c(id)
        return int(lib.fib_set_adjacency(self.writer, record))

    def group(self, id: int, buckets: tuple[int, ...] = ()) -> int:
        kind = FibKind.FORWARD if buckets else FibKind.BLACKHOLE
        memory = Group(kind, buckets).to_c(id)
        return int(lib.fib_set_group(self.writer, ffi.cast("struct fib_group *", memory)))

    def groups(self, ids: Iterable[int]) -> None:
        for id in ids:
            assert self.group(id) == 0

    def apply_rows(self, rows: Any, n: int | None = None) -> tuple[int, int, int]:
        """(result, applied, changed)."""
        done = ffi.new("uint64_t[2]")
        count = len(rows) if n is None else n
        result = lib.fib_apply(self.writer, rows, count, done, done + 1)
        return int(result), int(done[0]), int(done[1])

    def apply(self, *routes: Row) -> tuple[int, int, int]:
        return self.apply_rows(rows_of(routes))

    def publish(self) -> int:
        return int(lib.fib_publish(self.writer, 0, 0, 0))

    def keys(self, addresses: list[str]) -> Any:
        keys = ffi.new("struct fib_key[]", len(addresses))
        for key, text in zip(keys, addresses, strict=True):
            key.family = set_address(key.address, ip_address(text))
        return keys

    def lookup(self, addresses: list[str]) -> list[int]:
        groups = ffi.new("uint32_t[]", len(addresses))
        keys = self.keys(addresses)
        assert lib.fib_lookup_groups(self.reader, keys, groups, len(addresses)) == 0
        return list(groups)

    def match(self, address: str) -> Row | None:
        row = ffi.new("struct route_row *")
        assert lib.fib_lookup_match(self.reader, self.keys([address]), row) == 0
        return Row(prefix_of(row), row.nexthop) if row.nexthop else None

    def walk(self, at_once: int = 7) -> list[Row]:
        cursor, rows = ffi.new("struct route_row *"), ffi.new("struct route_row[]", at_once)
        found: list[Row] = []
        while n := lib.fib_walk(self.writer, cursor, rows, at_once):
            found += [Row(prefix_of(rows[i]), rows[i].nexthop) for i in range(n)]
        return found

    def exact(self, prefix: Network) -> int:
        return int(lib.fib_exact(self.writer, key_of(prefix)))
