"""The values of a publish: what the publisher asks of RIB and FIB, and what it answers.

    RouteTable, RouteWriter     # the two tables as publisher.py needs them; tests bring fakes
    Published                   # what came of a publish
    Counters                    # since start

Types and values alone: nothing here reads or writes a table, or promises when one is published.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ribcage.shared.memory.rows import Applied

CHANGES = 8192  # changed prefixes taken from the RIB per step

OpenChanges = Iterator[tuple[Any, int, bool]]
"""(rows, count, exact) of what the RIB's journal has open; see Entries.open_changes."""


class RouteTable(Protocol):
    """The RIB as the publisher needs it; arrays are `struct route_row[]`."""

    def apply(self, rows: Any, count: int, changes: Any, room: int) -> Applied: ...
    def changed(self) -> int: ...
    def published(self, mark: int) -> None: ...


class RouteWriter(Protocol):
    """The FIB's writer as the publisher needs it. `apply`: like the RIB's, changes = words;
    everything happens inside `guard()`, the writer's semaphore, which may be nested."""

    def guard(self) -> AbstractContextManager[None]: ...
    def apply(self, rows: Any, count: int) -> Applied: ...
    def publish(self, update_id: int, t0: int, t1: int) -> int: ...
    def limits(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class Published:
    """One publish. Times are CLOCK_MONOTONIC ns; `changes` counts FIB route words."""

    generation: int
    update_id: int
    t0: int
    t1: int
    t3: int
    changes: int


@dataclass(slots=True)
class PublishCounters:
    """What the publisher did since it started; `publish_ns[i]` counts t3-t0 in [2^i, 2^i+1)."""

    publishes: int = 0
    rows: int = 0
    changes: int = 0
    refused: int = 0
    bells: int = 0
    publish_ns: list[int] = field(default_factory=lambda: [0] * 40)
