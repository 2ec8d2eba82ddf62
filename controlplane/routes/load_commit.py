"""One bulk load, and the steps of its commit: assign, check, apply. Used by loads.py.

    pinned = await assign(core, load)     # next hops become sets, rows get their ids
    await check(core, load)               # atomic: what would be refused, before any change
    await apply(core, load, t0)           # RIB and FIB, in slices

Each gives the loop a turn between its slices. The caller unpins the sets, also after an error.
`apply` takes nothing back: after an error the slices before it are in force. Control only.
"""

import asyncio
import errno
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.rib.results import rib_refusal
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.values.parse import resolve, usage
from ribcage.shared.addresses import BYTES, Address, address_of
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fields import prefix_of, prefix_or_parts
from ribcage.shared.memory.rows import ROW_BYTES
from ribcage.shared.plan import NexthopPlan

SLICE = 4096  # rows applied between two turns of the loop
FAMILY_AT: int = ffi.offsetof("struct route_row", "family")


@dataclass(slots=True)
class Load:
    """One load that is open."""

    number: int
    vias: list[Address]
    atomic: bool
    metric: int
    distance: int
    blocks: list[tuple[Any, int]] = field(default_factory=list)
    rows: int = 0
    lines: int = 0
    gateways: Any = None
    n_gateways: Any = None
    touched: float = field(default_factory=time.monotonic)


async def assign(core: Core, load: Load) -> list[int]:
    """Next hops become sets; every row gets its set, distance and metric."""
    pinned: list[int] = []
    texts = [load.gateways[i] for i in range(load.n_gateways[0])]
    named = [address_of(bytes(text.address)[: BYTES[text.family]]) for text in texts]
    how = ffi.new("struct row_assignment *")
    how.n_gateways = len(named)
    how.metric, how.source, how.distance = load.metric, RUNTIME.number, load.distance
    vias = [[via for via in load.vias if via.version == version] for version in (4, 6)]
    how.n_ids = [len(vias[0]), len(vias[1])]
    by_use = await _by_use(load, how, vias, named)
    try:
        keep = []  # cffi frees what only a struct points to
        ids = {address: _intern(core, address, pinned) for address in by_use}
        for i, version in enumerate((4, 6)):
            keep.append(ffi.new("uint32_t[]", [ids[via] for via in vias[i]] or 1))
            known = [ids[one] if one.version == version else 0 for one in named]
            keep.append(ffi.new("uint32_t[]", known or 1))
            how.ids[i], how.gateways[i] = keep[-2:]
        for rows, count in load.blocks:
            done = int(lib.rows_assign(rows, count, how))
            if done < count:
                raise _no_nexthop(rows[done], named)
            await asyncio.sleep(0)
    except BaseException:
        for number in pinned:
            core.nexthops.unpin(number)
        raise
    return pinned


async def _by_use(
    load: Load, how: Any, vias: Sequence[Sequence[Address]], named: Sequence[Address]
) -> list[Address]:
    """Every next hop once, the most used first: those get the small numbers (csrc/rib/rib.h)."""
    usage = ffi.new("struct row_usage *")
    counts = [ffi.new("uint32_t[]", max(1, len(some))) for some in (*vias, named)]
    usage.ids, usage.gateways = counts[:2], counts[2]
    for rows, count in load.blocks:
        lib.rows_usage(rows, count, how, usage)
        await asyncio.sleep(0)
    used: Counter[Address] = Counter()
    for some, count in zip((*vias, named), counts, strict=True):
        for i, address in enumerate(some):
            used[address] += count[i]
    return [address for address, _ in used.most_common()]


def _no_nexthop(row: Any, named: Sequence[Address]) -> RibcageError:
    """A number without a meaning, or a gateway of the other family."""
    prefix, number = prefix_of(row), int(row.nexthop)
    if row.flags & lib.ROW_GATEWAY:
        return usage("E_NEXTHOP", f"next hop {named[number - 1]} cannot serve {prefix}")
    return usage(
        "E_NEXTHOP",
        f"{prefix} names next hop {number}, and no IPv{prefix.version} next hops were given",
        "give them in order, once each: --via ADDRESS; nothing was applied",
    )


def _intern(core: Core, address: Address, pinned: list[int]) -> int:
    """The set of one next hop, pinned."""
    nexthops = resolve(core.topology, None, "forward", [NexthopPlan(via=str(address))])
    number = core.nexthops.intern(nexthops)
    core.nexthops.pin(number)
    pinned.append(number)
    return number


async def check(core: Core, load: Load) -> None:
    """What would be refused, before anything is changed."""
    counts = core.rib.counts()
    if counts.rows + load.rows > counts.max_rows:
        raise rib_refusal(errno.ENOSPC, f"{load.rows} more routes")
    families = {4: 0, 6: 0}
    for rows, count in load.blocks:
        error, bad = core.rib.check(rows, count)
        if error:
            raise rib_refusal(error, prefix_or_parts(rows[bad]))
        sixes = bytes(ffi.buffer(rows, count * ROW_BYTES))[FAMILY_AT::ROW_BYTES].count(6)
        families[6] += sixes
        families[4] += count - sixes
        await asyncio.sleep(0)
    for i, (family, more) in enumerate(families.items()):
        limit = core.fib.limits()[i]
        if counts.selected[i] + more > limit:
            raise RibcageError(
                "E_TABLE_FULL",
                f"{counts.selected[i]} IPv{family} routes and {more} more are over the limit "
                f"of {limit}; nothing was applied",
                f"raise fib.max_routes{family} and start the router again",
                Exit.NO,
            )


async def apply(core: Core, load: Load, t0: int) -> None:
    done = 0
    for rows, count in load.blocks:
        for at in range(0, count, SLICE):
            part = min(SLICE, count - at)
            try:
                core.publisher.apply(rows + at, part, t0)
            except RibcageError as error:
                core.publisher.flush()
                raise RibcageError(
                    error.code,
                    f"{error.message}; {done} to {done + part} of {load.rows} routes are in force",
                    error.hint,
                    error.exit_code,
                ) from error
            done += part
            core.publisher.flush()
            await asyncio.sleep(0)
