"""Which worker gets which bucket of flows: a pure function, and nothing else.

    table = spread(2, {0, 1})                 # each bucket at home
    table = spread(2, {1}, table)             # worker 0 is away: its buckets go to the others
    table = spread(2, {0, 1}, table)          # it is back: its own buckets move back, no others

A flow's hash is its bucket (csrc/port/filter.h). A bucket has a home, the same for ever while the
number of workers is; homes are runs of neighbouring buckets, so that a whole table is a short
program. A bucket whose home is away stays where it was put, while that worker lives.
"""

from collections.abc import Collection, Sequence

from ribcage.shared._core import lib

BUCKETS: int = lib.PORT_BUCKETS


def home(bucket: int, workers: int) -> int:
    """The worker a bucket belongs to; all have the same number of buckets, or one more."""
    return bucket * workers // BUCKETS


def spread(
    workers: int, living: Collection[int], before: Sequence[int] | None = None
) -> tuple[int, ...]:
    """A worker for each bucket. `before` is the table in force; None: there is none. With nobody
    alive all are at home: what comes waits in the rings for whoever comes first."""
    if not living:
        return tuple(home(bucket, workers) for bucket in range(BUCKETS))
    table = [home(bucket, workers) for bucket in range(BUCKETS)]
    strays = [bucket for bucket in range(BUCKETS) if table[bucket] not in living]
    orphans = []
    for bucket in strays:
        if before is not None and before[bucket] in living:
            table[bucket] = before[bucket]
        else:
            orphans.append(bucket)
    waiting = set(orphans)
    load = dict.fromkeys(sorted(living), 0)
    for bucket, worker in enumerate(table):
        if bucket not in waiting:
            load[worker] += 1
    for bucket in orphans:
        table[bucket] = min(load, key=lambda worker: (load[worker], worker))
        load[table[bucket]] += 1
    return tuple(table)
