"""The FIB's only writer: control makes or attaches the segment and publishes into it.

Use:
    fib = attach_fib(names, FibParams(), instance_id=random)      # attach.py
    with fib.batch():
        fib.set_adjacency(1, Adjacency(...)); fib.set_group(3, Group(...))
        fib.apply(rows)                       # a C array of rows, or Rows
        generation = fib.publish(update_id, t0, t1)

Words are visible to readers as they are stored; the generation says that a batch is whole. Every
change happens inside `batch()` (the writer's semaphore, signals blocked). Groups exist before a
route names them, adjacencies before a group does; what is still named cannot be cleared. After a
failure everything that `applied` does not count is as it was.

Control alone, from one thread. Not for the packet path: one call costs about a microsecond.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.segment.guard import WriterGuard
from ribcage.shared.addresses import Network
from ribcage.shared.memory.fib import fields
from ribcage.shared.memory.fib_records import Adjacency, Group, Port
from ribcage.shared.memory.fib_sync import (
    Locks,
)
from ribcage.shared.memory.fields import prefix_of
from ribcage.shared.memory.rows import Applied, Row, key_of, rows_of
from ribcage.shared.memory.segment import Head, Mapped, huge_bytes
from ribcage.shared.process.names import Names
from ribcage.shared.refusals import refused

WALK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class FibRecovery:
    """What taking over found: see struct fib_recovery."""

    redone: bool
    reclaimed: int
    routes: int
    nanoseconds: int


class FibWriter:
    """Ownership of one FIB segment. Make it with `attach_fib`."""

    def __init__(
        self,
        names: Names,
        guard: WriterGuard,
        mapped: Mapped,
        outcome: str,
        locks: Locks | None = None,
    ) -> None:
        """Opens the writer on a mapped, ready segment; on an error both are closed: E_FIB_CORRUPT
        (it is no tree), E_SYNC (the locks do not fit), E_MAP (no memory)."""
        recovery = ffi.new("struct fib_recovery *")
        handle = ffi.NULL if locks is None else locks.handle
        self._done = ffi.new("uint64_t[2]")
        self._writer = lib.fib_writer_open_locked(mapped.address, mapped.size, handle, recovery)
        self.locks = locks
        """What readers need under rwlock, sem_undo and mutex; None under the others."""
        if self._writer == ffi.NULL:
            if locks is not None:
                locks.close()
            mapped.close()
            raise refused("fib_open", recovery.error, name=mapped.name)
        self.names, self.guard, self.mapped = names, guard, mapped
        self.outcome = outcome
        """"created", "attached", "restored" (its name was gone), "replaced" (what was there was
        unusable) or "rebuilt" (while control lived)."""
        self.why = ""
        """Of one that is not simply there: what was wrong."""
        self.recovery = FibRecovery(
            bool(recovery.redone), recovery.reclaimed, recovery.routes, recovery.nanoseconds
        )
        self.owns_guard = False
        """`close` gives the ownership up, too."""
        self._header = ffi.cast("struct fib_header *", mapped.address)
        self.instance_id_at_open = int(self._header.identity.instance_id)
        """What the line said; it may have been overwritten since."""
        self.head = Head(mapped, ("struct segment_identity", "struct fib_geometry"))
        self.has_named_locks = (
            locks is not None and locks.mapped is not None and locks.mapped.name.startswith("/")
        )
        """Those of a descriptor are sealed: nobody can do anything to them."""
        self.locks_head = None
        if self.has_named_locks and locks is not None and locks.mapped is not None:
            self.locks_head = Head(locks.mapped, ("struct segment_identity",))

    def batch(self) -> AbstractContextManager[None]:
        """The writer's semaphore; every change is made inside. The strategy's own lock is taken
        with the first change and given back with the publish, or here at the latest."""
        return self.guard.batch(self._end_batch)

    def _end_batch(self) -> None:
        if self._writer != ffi.NULL:
            lib.fib_batch_end(self._writer)

    def break_lock(self) -> None:
        """rwlock, sem_undo, mutex: a reader died; whatever it held is left behind. Nothing under
        the others."""
        with self.guard.batch():
            lib.fib_break_lock(self._writer)

    def close(self) -> None:
        """Unmaps and gives ownership up; the segment stays for the workers and the successor."""
        if self._writer == ffi.NULL:
            return
        lib.fib_writer_close(self._writer)
        self._writer = ffi.NULL
        self.mapped.close()
        if self.locks is not None:
            self.locks.close()
        if self.owns_guard:
            self.guard.close()

    def __enter__(self) -> "FibWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- changes ----

    def apply(self, rows: Any, n: int | None = None) -> Applied:
        """Applies rows in order: a cffi `struct route_row[]` (its first `n`), or Rows.

        `error` is an errno: E2BIG for max-routes, ENOSPC for no memory, else a bad row or an
        unknown group. The `applied` rows are in force then, the others are not.
        """
        self._inside()
        if not isinstance(rows, ffi.CData):
            rows = rows_of(rows)
        count = len(rows) if n is None else n
        done = self._done
        result = lib.fib_apply(self._writer, rows, count, done, done + 1)
        return Applied(done[0], done[1], -result)

    def set_group(self, id: int, group: Group) -> None:
        """One word, however many routes are behind it. E_GROUP: see the message."""
        self._inside()
        memory = ffi.cast("struct fib_group *", group.to_c(id))
        _checked("fib_group", lib.fib_set_group(self._writer, memory), id, group)

    def clear_group(self, id: int) -> None:
        self._inside()
        _checked("fib_group", lib.fib_clear_group(self._writer, id), id)

    def set_adjacency(self, id: int, adjacency: Adjacency) -> None:
        self._inside()
        result = lib.fib_set_adjacency(self._writer, adjacency.to_c(id))
        _checked("fib_adjacency", result, id, adjacency)

    def clear_adjacency(self, id: int) -> None:
        self._inside()
        _checked("fib_adjacency", lib.fib_clear_adjacency(self._writer, id), id)

    def set_port(self, port: Port) -> None:
        self._inside()
        _checked("fib_port", lib.fib_set_port(self._writer, port.to_c()), port.index, port)

    def clear_port(self, index: int) -> None:
        self._inside()
        _checked("fib_port", lib.fib_clear_port(self._writer, index), index)

    def publish(self, update_id: int = 0, t0: int = 0, t1: int = 0) -> int:
        """Ends a batch: the new generation. t0, t1: CLOCK_MONOTONIC ns, see struct fib_stamp."""
        self._inside()
        return int(lib.fib_publish(self._writer, update_id, t0, t1))

    # ---- looking ----

    @property
    def handle(self) -> Any:
        """`struct fib_writer *` for C callers in this process; valid until close()."""
        return self._writer

    @property
    def generation(self) -> int:
        return int(self._now().published.generation)

    @property
    def unpublished(self) -> bool:
        """Something was changed since the last publish, by this writer or by a dead one."""
        return bool(lib.fib_unpublished(self._writer))

    @property
    def instance_id(self) -> int:
        return int(self._header.identity.instance_id)

    @property
    def born(self) -> int:
        """Tells this segment from one that it replaced, whose instance is the same."""
        return int(self._header.born)

    def walk_rows(self) -> Iterator[tuple[Any, int]]:
        """Every route in order, as (C array, rows in it); the array is used again."""
        cursor = ffi.new("struct route_row *")
        rows = ffi.new("struct route_row[]", WALK_ROWS)
        while n := lib.fib_walk(self._writer, cursor, rows, WALK_ROWS):
            yield rows, n

    def walk(self) -> Iterator[Row]:
        """Every route in order of family, address, length."""
        for rows, n in self.walk_rows():
            for i in range(n):
                yield Row(prefix_of(rows[i]), rows[i].nexthop)

    def exact(self, prefix: Network) -> int:
        """The group of exactly this prefix, 0 when there is no such route."""
        return int(lib.fib_exact(self._writer, key_of(prefix)))

    def check(self) -> bool:
        """Counts and digest recomputed from the routes fit what the writer counted."""
        return bool(lib.fib_check(self._writer) == 0)

    def geometry(self) -> dict[str, int]:
        return fields(self._header.geometry)

    def published(self) -> dict[str, int]:
        return fields(self._now().published)

    def _now(self) -> Any:
        """The newest publish's header; readers of `message` come to it through their queue."""
        if self._writer == ffi.NULL:
            raise RuntimeError("this writer is closed")
        return lib.fib_header_newest(self._writer)

    def sync_words(self) -> dict[str, int]:
        """What the strategy counts: batches (seqlock), locks broken, banks swapped, ring bytes."""
        words = self._header.sync
        return {
            name: int(getattr(words, name)) for name in ("sequence", "breaks", "swaps", "commit")
        }

    def memory(self) -> dict[str, int]:
        """Bytes: the segment, and the arena's live, retired and free blocks, as of the last
        publish; `retired_most` is what retired can never pass, whatever readers do;
        `huge_pages` what this process has of it in pages of 2 MiB."""
        block = int(lib.FIB_BLOCK)
        published = self.published()
        figures = {
            name: published[f"{name}_blocks"] * block for name in ("live", "retired", "free")
        }
        high = max(0, published["high_water"] + 1 - self.geometry()["arena_at"])
        most = int(lib.fib_retired_most(ffi.addressof(self._header.geometry)))
        return {
            "segment": self.mapped.size,
            **figures,
            "retired_most": most,
            "high_water": high * block,
            "huge_pages": huge_bytes(self.mapped),
        }

    # ---- errors ----

    def _inside(self) -> None:
        if not self.guard.held:
            raise RuntimeError("the FIB is changed inside `with writer.batch():` only")


def _checked(call: str, result: int, id: int, record: object = None) -> None:
    if result != 0:
        raise refused(call, result, id=id, record=record or "nothing")
