"""The FIB's writer in the form that publisher.py and forwarding.py want.

`guard()` may be nested, the writer's semaphore may not. Control only, one thread.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.segment.writer import FibWriter
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import Adjacency, Group, Port
from ribcage.shared.memory.rows import Applied

Record = TypeVar("Record")
_COUNTED = {"group": "groups", "adjacency": "adjacencies", "port": "ports"}


class FibTables:
    """See the module's text. `reader` looks at the same segment."""

    def __init__(self, writer: FibWriter, reader: FibReader) -> None:
        self.writer = writer
        self.reader = reader
        self._depth = 0
        self.use(writer)

    def use(self, writer: FibWriter) -> None:
        """Writes another segment from now on; outside any guard. The reader is moved by whoever
        asks, once that segment can be read."""
        self.writer = writer
        geometry = writer.geometry()
        self._limits = (geometry["max_routes4"], geometry["max_routes6"])

    @contextmanager
    def guard(self) -> Iterator[None]:
        """The writer's batch, entered once however deep the calls nest."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        with self.writer.batch():
            self._depth = 1
            try:
                yield
            finally:
                self._depth = 0

    # -- routes

    def apply(self, rows: Any, count: int) -> Applied:
        return self.writer.apply(rows, count)

    def publish(self, update_id: int, t0: int, t1: int) -> int:
        return self.writer.publish(update_id, t0, t1)

    def limits(self) -> tuple[int, int]:
        return self._limits

    # -- small tables

    def write_group(self, group: int, record: Group) -> None:
        self.writer.set_group(group, record)

    def clear_group(self, group: int) -> None:
        self.writer.clear_group(group)

    def write_adjacency(self, adjacency: int, record: Adjacency) -> None:
        self.writer.set_adjacency(adjacency, record)

    def clear_adjacency(self, adjacency: int) -> None:
        self.writer.clear_adjacency(adjacency)

    def write_port(self, port: Port) -> None:
        self.writer.set_port(port)

    def clear_port(self, index: int) -> None:
        self.writer.clear_port(index)

    # -- what is there: read once, at takeover. What is no record (its bytes were overwritten) is
    # left out: it is written anew, as what is missing is.

    def read_groups(self) -> Iterable[tuple[int, Group]]:
        for number in self._ids(lib.FIB_MAX_GROUPS, "groups"):
            group = _readable(self.reader.group, number)
            if group is not None:
                yield number, group

    def read_adjacencies(self) -> Iterable[tuple[int, Adjacency]]:
        for number in self._ids(lib.FIB_MAX_ADJACENCIES, "adjacencies"):
            adjacency = _readable(self.reader.adjacency, number)
            if adjacency is not None:
                yield number, adjacency

    def read_ports(self) -> Iterable[Port]:
        ports = (_readable(self.reader.port, index) for index in range(lib.FIB_MAX_PORTS))
        return (port for port in ports if port is not None)

    def ids(self, what: str, step: int) -> Iterator[range]:
        """All ids that a table has room for, `step` at a time."""
        limit = self.writer.geometry()[f"max_{_COUNTED[what]}"]
        for first in range(0, limit, step):
            yield range(first, min(first + step, limit))

    def is_set(self, what: str, number: int) -> bool:
        """Whether a directory word says that there is such a group, adjacency or port."""
        header = ffi.cast("struct fib_header *", self.writer.mapped.address)
        at = getattr(header.geometry, f"{_COUNTED[what]}_at") * lib.FIB_BLOCK
        return bool(ffi.cast("uint32_t *", self.writer.mapped.address + at)[number])

    def _ids(self, limit: int, counted: str) -> Iterator[int]:
        """Ids whose directory word is set: 65,536 looks at a word, not 65,536 calls."""
        geometry = self.writer.geometry()
        at = geometry[f"{counted}_at"] * lib.FIB_BLOCK
        words = ffi.cast("uint32_t *", self.writer.mapped.address + at)
        for number in range(1, min(limit, geometry[f"max_{counted}"])):
            if words[number] != 0:
                yield number


def _readable(read: Callable[[int], Record | None], number: int) -> Record | None:
    try:
        return read(number)
    except ValueError:
        return None
