"""class Rib: the routing table as control uses it.

    rib = Rib.create_or_attach(names, RibParams(instance_id=...))
    applied = rib.apply(rows, n, changes, room)    # arrays of struct route_row; acknowledged
    ...fib apply, publish...                       # changes[0..applied.changes)
    rib.published(mark)                            # mark = rib.changed() before the publish

Best path, what survives a crash and what a slice costs: csrc/rib/rib.h. Only the control process
that holds the control lock may hold a Rib; one thread. Nothing here blocks: calls over whole
sources take a budget of row slots and say whether there is more.
"""

import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.rib.mapping import (
    Memory,
    RibParams,
    anonymous_rib,
    attach_rib,
    create_rib,
)
from ribcage.controlplane.rib.records import (
    Filter,
    Route,
    pack_filter,
    pack_nexthops,
    unpack_nexthops,
    unpack_route,
)
from ribcage.controlplane.rib.results import Counts, RibRecovery, Slice
from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.shared.addresses import Address, Network
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.rows import Applied, Row, key_of, new_rows, row_at, rows_of
from ribcage.shared.memory.segment import Head, Mapped, remove_segment
from ribcage.shared.process.names import Names
from ribcage.shared.refusals import refused

SLICE_SLOTS = 65536  # row slots a sweep or reselect looks at per call, a few milliseconds
MAX_LIST: int = lib.RIB_WALK_MAX


class Rib:
    """See the module's text. `recovery` tells what opening it found."""

    def __init__(self, memory: Memory, created: bool) -> None:
        found, error = ffi.new("struct rib_recovery *"), ffi.new("int *")
        self.memory = memory
        self._rib = lib.rib_open(memory.address, memory.size, found, error)
        if self._rib == ffi.NULL:
            memory.close()
            raise refused("rib_open", error[0])
        self.recovery = RibRecovery(
            created=created,
            rows=found.rows,
            nexthops=found.nexthops,
            pending=found.pending,
            everything=bool(found.everything),
            reselect=bool(found.reselect),
            repaired=found.repaired,
            reclaimed=found.reclaimed,
            nanoseconds=found.nanoseconds,
        )
        self.head = None
        """None in private memory, which nobody else can touch."""
        if isinstance(memory, Mapped):
            self.head = Head(memory, ("struct segment_identity", "struct rib_geometry"))
        self._applied = ffi.new("struct rib_applied *")
        self._number = ffi.new("uint32_t[2]")
        self._one = ffi.new("struct rib_route *")

    @classmethod
    def attach(cls, names: Names, params: RibParams) -> "Rib":
        """The instance's table; errors as mapping.attach_rib, and E_DAMAGED. It keeps the limits it
        was made with (see counts())."""
        return cls(attach_rib(names.rib, params), created=False)

    @classmethod
    def create(cls, name: str, params: RibParams) -> "Rib":
        """An empty table of this name; errors as mapping.create_rib."""
        return cls(create_rib(name, params), created=True)

    @classmethod
    def create_or_attach(cls, names: Names, params: RibParams) -> "Rib":
        """The instance's table, made when absent or half made; errors as `attach`."""
        try:
            return cls.attach(names, params)
        except RibcageError as error:
            if error.code not in ("E_ABSENT", "E_INITIALISING"):
                raise
        return cls.create(names.rib, params)

    @classmethod
    def private(cls, params: RibParams) -> "Rib":
        """A table in private memory: for tests and dry runs."""
        return cls(anonymous_rib(params), True)

    @staticmethod
    def remove(names: Names) -> None:
        """Unlinks the instance's table (orderly stop); fine when there is none."""
        remove_segment(names.rib)

    def close(self) -> None:
        """Lets go of it; the segment stays. The Rib is of no use afterwards."""
        if self._rib != ffi.NULL:
            lib.rib_close(self._rib)
            self._rib = ffi.NULL
            self.memory.close()

    @property
    def handle(self) -> Any:
        """`struct rib *` for C callers in this process; valid until close()."""
        return self._rib

    # -- rows

    def apply(self, rows: Any, count: int, changes: Any, room: int) -> Applied:
        """Puts `struct route_row[count]` in force; best next hops that changed go to changes[].

        Returns early when changes[room] is full: call again with the rest."""
        result = self._applied
        error = lib.rib_apply(self._rib, rows, count, changes, room, result)
        return Applied(
            result.applied,
            result.changes,
            -error,
            result.added,
            result.replaced,
            result.refreshed,
            result.withdrawn,
            result.unknown,
        )

    def apply_rows(self, rows: Sequence[Row]) -> tuple[Applied, list[Row]]:
        """The same for a few rows as values; the changes too."""
        changes = new_rows(max(1, len(rows)))
        applied = self.apply(rows_of(rows), len(rows), changes, len(changes))
        return applied, [row_at(changes[i]) for i in range(applied.changes)]

    def check(self, rows: Any, count: int) -> tuple[int, int]:
        """(0, count) when all rows would be taken, else (errno, index of the first refused)."""
        bad = ffi.new("uint64_t *", count)
        error = lib.rib_check(self._rib, rows, count, bad)
        return -error, int(bad[0])

    def limit(self, source: int, rows: int) -> None:
        """At most `rows` candidates of `source` from now on; 0: no limit of its own."""
        _checked("rib_limit", lib.rib_limit(self._rib, source, rows))

    # -- journal

    def changed(self) -> int:
        """The mark for published(), once all changes returned so far are in the FIB."""
        return int(lib.rib_changed(self._rib))

    def published(self, mark: int) -> None:
        _checked("rib_published", lib.rib_published(self._rib, mark))

    def pending(self, rows: Any, room: int, cursor: int = 0) -> tuple[int, int]:
        """Fills rows[room] with (prefix, best next hop) of changes the FIB may lack: (how many,
        cursor for the next call); 0 at the end. E_JOURNAL: too many, compare RIB and FIB whole."""
        at = ffi.new("uint64_t *", cursor)
        filled = lib.rib_pending(self._rib, at, rows, room)
        filled = _checked("rib_pending", filled, most=lib.RIB_JOURNAL)
        return filled, int(at[0])

    def republish_all(self) -> None:
        """The FIB may lack everything: `recovery.everything` for the next successor too."""
        lib.rib_republish_all(self._rib)

    # -- what the FIB of this table holds

    def fib_state(self) -> int:
        """lib.RIB_FIB_WHOLE, _BETWEEN or _AGGREGATED; outlives this process."""
        return int(lib.rib_fib_state(self._rib))

    def set_fib_state(self, state: int) -> None:
        """Before the first FIB word that makes it true."""
        lib.rib_set_fib_state(self._rib, state)

    # -- reading

    def candidates(self, prefix: Network) -> list[Route]:
        """All candidates of exactly this prefix, best first."""
        found = ffi.new("struct rib_route[]", lib.RIB_MAX_CANDIDATES)
        most = lib.RIB_MAX_CANDIDATES
        n = _checked("rib_get", lib.rib_get(self._rib, key_of(prefix), found, most))
        return [unpack_route(found[i]) for i in range(n)]

    def best(self, prefix: Network) -> Route | None:
        """The route in force for exactly this prefix."""
        found = lib.rib_best(self._rib, key_of(prefix), self._one) == 0
        return unpack_route(self._one) if found else None

    def match(self, address: Address) -> Route | None:
        """Longest match among routes in force. Not for packets."""
        packed = address.packed.ljust(16, b"\0")
        found = lib.rib_match(self._rib, packed, address.version, self._one) == 0
        return unpack_route(self._one) if found else None

    def walk(
        self, cursor: str | None = None, limit: int = 500, wanted: Filter | None = None
    ) -> tuple[list[Route], str | None]:
        """A slice of the listing (family, address, length, rank), and the cursor for the next;
        None at the end. Fewer than `limit` do not mean the end. E_CURSOR: not one of ours."""
        found, n, following = self.walk_packed(cursor, limit, wanted)
        return [unpack_route(found[i]) for i in range(n)], following

    def walk_packed(
        self, cursor: str | None = None, limit: int = 500, wanted: Filter | None = None
    ) -> tuple[Any, int, str | None]:
        """The same as a `struct rib_route[]` and its length, for those who work in bulk."""
        at = _unpack_cursor(cursor)
        found = ffi.new("struct rib_route[]", min(limit, MAX_LIST))
        n = lib.rib_walk(
            self._rib, at, pack_filter(wanted or Filter()), found, min(limit, MAX_LIST)
        )
        _checked("rib_walk", n)
        following = None if at.state == 2 else bytes(ffi.buffer(at)).hex()
        return found, n, following

    def scan(self, slot: int, budget: int, found: Any) -> tuple[int, int]:
        """Routes in force among the next `budget` row slots from `slot` (1 to start), into
        `struct rib_route[budget]`: how many, and where to go on; 0 at the end. E_DAMAGED when a row
        there is none of this table's."""
        number = self._number
        number[0] = slot
        n = _checked("rib_open", lib.rib_scan(self._rib, number, budget, found))
        return n, int(number[0])

    def walk_release(self) -> None:
        """Frees the index that listings use; the next walk makes it again."""
        lib.rib_walk_release(self._rib)

    def export(self, rows: Any, room: int, sources: Iterable[int], budget: int) -> int:
        """Copies the candidates of these sources into rows[room], in no order; how many. `budget`
        row slots a call of C: what changes while it runs is nothing, it runs to the end."""
        mask, slot, filled = sum(1 << one for one in sources), self._number, ffi.new("uint32_t *")
        slot[0], total, more = 0, 0, 1
        while more and total < room:
            more = lib.rib_export(self._rib, mask, slot, budget, rows + total, room - total, filled)
            total += filled[0]
        return total

    def counts(self) -> Counts:
        count = ffi.new("struct rib_counts *")
        lib.rib_count(self._rib, count)
        values: dict[str, Any] = {}
        for name in Counts.__slots__:
            value = getattr(count, name)
            values[name] = value if isinstance(value, int) else tuple(value)
        return Counts(**values)

    # -- whole sources, liveness

    def mark_stale(self, source: int) -> int:
        """All routes of `source` are stale from now on (and in force); its new generation."""
        return _checked("rib_mark_stale", lib.rib_mark_stale(self._rib, source))

    def sweep(
        self,
        source: int,
        generation: int,
        changes: Any,
        room: int,
        slot: int = 0,
        budget: int = SLICE_SLOTS,
    ) -> Slice:
        """Withdraws stale rows of `source` in the next `budget` slots. E_STALE: another
        generation began, this sweep is out of date."""
        number = self._number
        number[0] = slot
        more = lib.rib_sweep(
            self._rib, source, generation, number, budget, changes, room, number + 1
        )
        more = _checked("rib_sweep", more, source=source, old=generation)
        return Slice(number[1], more == 1, number[0])

    def set_dead(self, nexthop: int, dead: bool) -> bool:
        """A next-hop set is (not) eligible; True when that is news. Then call reselect."""
        return _checked("rib_set_dead", lib.rib_set_dead(self._rib, nexthop, dead), id=nexthop) == 1

    def reselect(self, changes: Any, room: int, budget: int = SLICE_SLOTS) -> Slice:
        """Chooses again where liveness changed, `budget` slots a call, until not `more`."""
        more = lib.rib_reselect(self._rib, budget, changes, room, self._number + 1)
        return Slice(self._number[1], _checked("rib_reselect", more) == 1)

    # -- next-hop sets

    def nexthop_intern(self, nexthops: NexthopSet, popular: bool = True) -> int:
        """The id of the set equal to this one, stored when new. ValueError; E_NEXTHOPS full.

        `popular`: many routes may name it, so a small id is wanted (csrc/rib/rib.h)."""
        packed = pack_nexthops(nexthops)
        _checked("rib_nexthop_intern", lib.rib_nexthop_intern(self._rib, packed, popular))
        return int(packed.id)

    def nexthop_put(self, identity: int, nexthops: NexthopSet) -> None:
        """Stores a set under an id, new or in place of another (its routes follow)."""
        packed = pack_nexthops(nexthops, identity)
        _checked("rib_nexthop_put", lib.rib_nexthop_put(self._rib, packed))

    def nexthop(self, identity: int) -> NexthopSet | None:
        found = ffi.new("struct rib_nexthops *")
        missing = lib.rib_nexthop_get(self._rib, identity, found) != 0
        return None if missing else unpack_nexthops(found)

    def nexthop_dead(self, identity: int) -> bool:
        """What set_dead said last; it outlives this process."""
        found = ffi.new("struct rib_nexthops *")
        return lib.rib_nexthop_get(self._rib, identity, found) == 0 and bool(found.dead)

    def nexthop_delete(self, identity: int) -> bool:
        """Forgets a set; False while a row names it (or when there is none)."""
        return bool(lib.rib_nexthop_delete(self._rib, identity) == 0)

    def nexthop_refs(self, identity: int) -> int:
        return int(lib.rib_nexthop_refs(self._rib, identity))

    def nexthops(self) -> Iterator[int]:
        """Ids in use, ascending."""
        identity = 0
        while identity := lib.rib_nexthop_next(self._rib, identity):
            yield identity


def _unpack_cursor(text: str | None) -> Any:
    at = ffi.new("struct rib_cursor *")
    if text is None:
        return at
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != ffi.sizeof("struct rib_cursor"):
        raise refused("rib_walk", errno.EINVAL)
    ffi.memmove(at, raw, len(raw))
    return at


def _checked(call: str, result: int, **facts: object) -> int:
    """The result, or the named error of -errno."""
    if result < 0:
        raise refused(call, result, **facts)
    return int(result)
