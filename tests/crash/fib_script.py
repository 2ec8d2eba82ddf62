"""Scripts of FIB changes for the crash tests: written for C, played on the golden model.

Use: `Script([Step([...]), ...])`; operations are tuples as script.h reads them, ("rows", [Row,
...]), ("group", id, kind, buckets), ("adjacency", id, port, mtu), ("port", index, mtu), and
("nogroup", id) and so on. `write()` gives the file, `states()` what the table may be between.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.shared.memory.fib_sync import (
    STRATEGIES,
    WITH_SEGMENT,
    WITH_SEMAPHORE,
    Locks,
    create_semaphore,
    remove_semaphore,
)
from ribcage.shared.memory.rows import row_of
from tests.csrc.build import FIB, build_c_test
from tests.model.fib_memory import ENGINES, on
from tests.model.golden import Golden

Operation = tuple[Any, ...]
TORTURE = int(os.environ.get("RIBCAGE_TORTURE", "1"))  # `make torture` sets it
HERE = Path(__file__).resolve().parent
PARAMS = FibParams(max_routes4=200, max_routes6=100, max_groups=64, max_adjacencies=64)


class Stage:
    """A segment file to be, and what its strategy needs beside it: what the programs are told."""

    def __init__(self, path: Path, sync: str = "epoch", engine: str = "compact") -> None:
        self.path, self.sync, self.engine = path, sync, engine
        self.params = replace(on(PARAMS, engine), sync=sync)
        self.semaphore = create_semaphore()[1] if sync in WITH_SEMAPHORE else -1
        self.renew()

    def renew(self) -> None:
        """Nothing made yet; the locks all free."""
        with self.path.open("wb") as file:
            file.truncate(self.params.segment_size())
        if self.sync in WITH_SEGMENT:
            words = ffi.new("struct sync_segment *")
            assert lib.sync_create(words, ffi.sizeof("struct sync_segment"), 7) == 0
            Path(f"{self.path}.sync").write_bytes(ffi.buffer(words))

    def locks(self) -> Locks:
        if self.sync in WITH_SEGMENT:
            with Path(f"{self.path}.sync").open("r+b") as file:
                return Locks.of_memory(file.fileno())
        return Locks.of_semaphore(self.semaphore)

    def victim(
        self, program: Path, script: Path, kill_at: int, generations: int, seconds: float
    ) -> list[str]:
        table = (*ENGINES[self.engine], STRATEGIES[self.sync], self.semaphore)
        numbers = (kill_at, generations, seconds, *table)
        return [str(program), str(self.path), str(script), *map(str, numbers)]

    def witness(
        self, program: Path, truth: Path, steps: int, keys: int, last: int, seconds: float,
        exact: bool = False, goals: Sequence[int] = (),
    ) -> list[str]:  # fmt: skip
        numbers = (steps, keys, last, seconds, self.semaphore, int(exact), *goals)
        return [str(program), str(self.path), str(truth), *map(str, numbers)]

    def __enter__(self) -> "Stage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self.semaphore >= 0:
            remove_semaphore(self.semaphore)


def built(name: str) -> Path:
    """tests/crash/NAME.c with the FIB's C files, optimised as the product is."""
    flags = ("-O3", f"-I{HERE}", "-DRC_FAULT_POINTS")
    return build_c_test(str(HERE / f"{name}.c"), FIB, flags=flags)


def play(golden: Golden, operation: Operation) -> Iterator[Golden]:
    """The states the table goes through, the last one being after the operation."""
    kind, *rest = operation
    if kind == "rows":
        for route in rest[0]:
            golden.apply(route)
            yield golden.copy()
        return
    if kind == "group":
        golden.groups[rest[0]] = (rest[1], rest[2])
    elif kind == "adjacency":
        golden.adjacencies[rest[0]] = (rest[1], rest[2])
    elif kind == "port":
        golden.ports[rest[0]] = rest[1]
    else:
        table = {"nogroup": golden.groups, "noadjacency": golden.adjacencies}
        table.get(kind, golden.ports).pop(rest[0], None)  # type: ignore[attr-defined]
    yield golden.copy()


def line(operation: Operation) -> str:
    kind, *rest = operation
    if kind == "rows":
        return "\n".join([f"rows {len(rest[0])}", *map(row_line, rest[0])])
    words = [rest[0], rest[1], len(rest[2]), *rest[2]] if kind == "group" else rest
    return " ".join([kind, *map(str, words)])


def row_line(route: Any) -> str:
    prefix = route.prefix
    packed = prefix.network_address.packed.ljust(16, bytes(1))
    return f"r {prefix.version} {packed.hex()} {prefix.prefixlen} {route.nexthop}"


@dataclass(frozen=True, slots=True)
class Script:
    steps: list[list[Operation]]

    def write(self, path: Path) -> Path:
        lines = [text for step in self.steps for text in ("step", *map(line, step))]
        path.write_text("\n".join(lines) + "\n")
        return path

    def after(self, steps: int) -> Golden:
        """The table once `steps` steps are done."""
        golden = Golden()
        for step in self.steps[:steps]:
            for operation in step:
                for _ in play(golden, operation):
                    pass
        return golden

    def states(self, steps: int) -> list[Golden]:
        """What may be found when a writer was killed with `steps` steps published."""
        golden = self.after(steps)
        found = [golden.copy()]
        for operation in self.steps[steps] if steps < len(self.steps) else []:
            found += play(golden, operation)
        return found

    def round_states(self) -> list[list[Golden]]:
        """Of a script that is repeated: `states` by generation % steps, from the second round."""
        golden, found = self.after(len(self.steps)), []
        for step in self.steps:
            states = [golden.copy()]
            for operation in step:
                states += play(golden, operation)
            found.append(states)
        return found

    def write_truth(self, path: Path, addresses: list[str], generations: int) -> Path:
        """The table witness.c reads: right answers of generations 0..generations-1 (of a
        script that is repeated: of its second round)."""
        keys = b"".join(
            a.packed.ljust(16, b"\0") + bytes([a.version, 0, 0, 0])
            for a in map(ip_address, addresses)
        )
        golden, rows = Golden(), [b""] * generations
        for generation in range(2 * len(self.steps) + 1):
            answers = (struct.pack("=3I", *golden.answer(a)) for a in addresses)
            rows[generation % generations] = b"".join(answers)
            if generation == generations - 1 == len(self.steps):
                break
            for operation in self.steps[generation % len(self.steps)]:
                for _ in play(golden, operation):
                    pass
        path.write_bytes(keys + b"".join(rows))
        return path


def cycle(forward: int) -> Script:
    """A round of single changes that ends where it began: blocks and ids are used again all the
    time, and every address changes often."""
    steps: list[list[Operation]] = [
        [("adjacency", i, 0, 1500 + i) for i in range(1, 5)],
        [("group", i, forward, (i,)) for i in range(1, 5)],
    ]
    for turn in range(1, 9):
        group = 1 + turn % 4
        steps += [
            [("rows", [row_of("10.0.0.0/8", group)])],
            [("rows", [row_of("10.1.0.0/16", 1 + group % 4)])],
            [("rows", [row_of("10.1.2.0/24", group)])],
            [("rows", [row_of("10.1.2.3/32", 1 + group % 4)])],
            [("rows", [row_of("2001:db8::/32", group)])],
            [("rows", [row_of("2001:db8::7/128", 1 + group % 4)])],
            [("group", 9, forward, (group,)), ("rows", [row_of("192.0.2.0/24", 9)])],
            [("adjacency", group, 0, 1500 + turn)],
            [("rows", [row_of("10.1.2.3/32", 0)])],
            [("rows", [row_of("2001:db8::7/128", 0)])],
            [("rows", [row_of("192.0.2.0/24", 0)]), ("nogroup", 9)],
            [("rows", [row_of("10.1.0.0/16", 0)])],
            [("rows", [row_of("10.1.2.0/24", 0)])],
            [("rows", [row_of("10.0.0.0/8", 0)])],
            # /0 changes right behind a longer prefix that comes, and right before it goes.
            [("rows", [row_of("203.0.113.0/24", group)])],
            [("rows", [row_of("0.0.0.0/0", 1 + group % 4)])],
            [("rows", [row_of("203.0.113.0/24", 0)])],
            [("rows", [row_of("0.0.0.0/0", 0)])],
        ]
    # A step between the last route and the first adjacency of the next round: a batch spans at
    # most one epoch, so it may take the route of one generation and, while the words of the
    # next but one are being stored, the adjacency of that.
    return Script([*steps, [("rows", [row_of("2001:db8::/32", 0)])], [("port", 0, 1500)]])
