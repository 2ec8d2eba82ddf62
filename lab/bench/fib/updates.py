"""A synthetic update stream for tables that come without one.

Popular prefixes flap most (Pareto, as update logs show), a fifth are withdrawals, and each of
those is announced again later, so that the table neither grows nor shrinks much.
"""

from __future__ import annotations

import random

from ribcage.shared._core import ffi

from ribcage.lab.bench.fib.table import ROW_BYTES, Rows

WITHDRAWN = 0.22
SHAPE = 1.2


def synthetic_updates(table: Rows, seed: int, count: int | None = None) -> Rows:
    """`count` updates (a fifth of the table, at most 100,000) of prefixes of `table`."""
    rng = random.Random(f"{seed} updates")
    wanted = count or max(16, min(100_000, table.count // 5))
    rows = ffi.new("struct route_row[]", wanted)
    order = list(range(table.count))
    rng.shuffle(order)
    most = table.max_nexthop
    gone: list[int] = []
    for i in range(wanted):
        back = gone and rng.random() < WITHDRAWN
        position = gone.pop(rng.randrange(len(gone))) if back else _popular(rng, order)
        ffi.memmove(ffi.addressof(rows, i), ffi.addressof(table.rows, position), ROW_BYTES)
        if not back and rng.random() < WITHDRAWN:
            rows[i].nexthop = 0
            gone.append(position)
        elif not back:
            rows[i].nexthop = rng.randint(1, most)
    return Rows(table.family, rows, wanted, f"synthetic, {wanted} updates, seed {seed}")


def _popular(rng: random.Random, order: list[int]) -> int:
    return order[int(rng.paretovariate(SHAPE) * 4) % len(order)]
