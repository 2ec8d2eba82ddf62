"""Update to visible through the Python binding: control's own call until a worker has it.

    samples = binding_ns(one, table, updates, folder, cpu, second_cpu, count)

The writer is FibWriter in this process, one update a batch (semaphore, apply, publish), on a
segment with a name of its own; the reader is a C process that spins on one address and says when
it saw the change. Both clocks are CLOCK_MONOTONIC. Every object made is removed.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import posix_ipc
from ribcage.shared._core import ffi

from ribcage.controlplane.fib.segment.attach import attach_fib
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.writer import FibWriter
from ribcage.lab.bench.fib.build import build
from ribcage.lab.bench.fib.contestants import Ours, params_file, semaphore_for
from ribcage.lab.bench.fib.program import Program
from ribcage.lab.bench.fib.table import ROW_BYTES, Rows
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fib_records import FibKind, Group
from ribcage.shared.memory.identity import SHM, SegmentKind
from ribcage.shared.memory.segment import open_segment, remove_segment
from ribcage.shared.process.names import Names


def binding_ns(
    one: Ours, table: Rows, folder: Path, cpu: int, second_cpu: int, count: int, seed: int
) -> list[int]:
    """`count` latencies in nanoseconds."""
    names = Names(f"bench-{os.getpid()}", folder)
    names.make_run_dir()
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    lock_file = getattr(names, "sync", None)
    try:
        with (
            semaphore_for(one) as semaphore,
            attach_fib(names, _params(one, table), **_more(semaphore)) as writer,
        ):
            with writer.batch():
                for i in range(1, table.max_nexthop + 1):
                    writer.set_group(i, Group(FibKind.BLACKHOLE))
                assert writer.apply(table.rows, table.count).error == 0
                writer.publish()
            line = [
                build("ribcage_fib"),
                one.family,
                folder,
                params_file(one),
                second_cpu,
                semaphore,
            ]
            with Program(one.name, [str(word) for word in line], second_cpu) as program:
                locks = f"{SHM}{lock_file}" if lock_file else "-"
                there = locks != "-" and Path(locks).exists()
                program.ask("attach", f"{SHM}{names.fib}", locks if there else "-")
                return _samples(writer, program, table, count, seed)
    finally:
        os.sched_setaffinity(0, allowed)
        for name in filter(None, (names.fib, lock_file)):
            remove_segment(name)
        with suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_semaphore(names.writer_semaphore)


def _samples(writer: FibWriter, program: Program, table: Rows, count: int, seed: int) -> list[int]:
    rng = random.Random(f"{seed} binding")
    found: list[int] = []
    with FibReader(open_segment(writer.names.fib, SegmentKind.FIB), writer.locks) as reader:
        while len(found) < count:
            row = table.rows[rng.randrange(table.count)]
            prefix = bytes(ffi.buffer(row.prefix))
            match = reader.match(prefix[: 4 if table.family == 4 else 16])
            if match is None or match.prefix.prefixlen != row.length:
                continue  # a longer prefix answers for that address
            other = table.max_nexthop if row.nexthop == 1 else 1
            for group in (other, row.nexthop):
                found.append(_sample(writer, program, row, prefix, group))
    return found


def _sample(writer: FibWriter, program: Program, row: object, prefix: bytes, group: int) -> int:
    change = ffi.new("struct route_row[1]")
    ffi.memmove(change, ffi.addressof(row), ROW_BYTES)
    change[0].nexthop = group
    program.tell("expect", prefix.hex(), group)
    program.hear()  # armed: it spins
    began = time.monotonic_ns()
    with writer.batch():
        assert writer.apply(change).error == 0
        writer.publish()
    return int(program.hear()["seen_ns"]) - began


def _more(semaphore: int) -> dict[str, Any]:
    return {} if semaphore < 0 else {"semaphore": semaphore}


def _params(one: Ours, table: Rows) -> FibParams:
    wanted: dict[str, Any] = {
        f"max_routes{one.family}": table.count + 1024,
        f"max_routes{10 - one.family}": 1,
        f"engine{one.family}": one.engine_id,
        "sync": one.strategy,
    }
    there = {field.name for field in fields(FibParams)}
    return FibParams(**{name: value for name, value in wanted.items() if name in there})
