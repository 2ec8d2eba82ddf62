"""The part of control that hears events, and two workers' ends of it. Not a test."""

import asyncio
import mmap
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.workers.events import WorkerEvents
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.memory.stats import SIZE, format_stats
from ribcage.shared.process.events import Event, EventQueue, QueueName, encode
from ribcage.shared.process.message import Message

ADDRESS = ip_address("10.0.2.9")
WORKERS = (0, 1)


@dataclass
class Heard:
    """A control process's part that hears events, and two workers."""

    queue: EventQueue
    counters: dict[str, int] = field(
        default_factory=lambda: {"events": 0, "events_failed": 0, "unhandled": 0}
    )
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    misses: list[int] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    workers: Workers = field(default_factory=Workers)
    bells: list[socket.socket] = field(default_factory=list)  # the workers' ends
    memory: list[mmap.mmap] = field(default_factory=list)
    tables: list[Any] = field(default_factory=list)
    events: WorkerEvents = field(init=False)

    def __post_init__(self) -> None:
        def note(level: str, event: str, **fields: Any) -> None:
            self.log.append((event, fields))

        for index in WORKERS:
            control, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.bells.append(worker)
            fd = os.memfd_create("stats", os.MFD_CLOEXEC)
            os.ftruncate(fd, SIZE)
            format_stats(fd, index, 9)
            self.memory.append(mmap.mmap(fd, SIZE))
            base = ffi.cast("struct stats_object *", ffi.from_buffer(self.memory[-1]))
            self.tables.append(ffi.new("struct wait_table *"))
            lib.waits_open(self.tables[-1], base)
            fds = {f"bell:{index}": control.detach(), f"stats:{index}": fd}
            self.workers.attach(Message("workers", {}, fds))
        size = self.queue.limits().queue_bytes
        self.events = WorkerEvents(
            self.workers,
            QueueName(self.queue.key, size),
            lambda port, address: self.misses.append(port),
            self.counters,
            note,
            self.said.append,
        )

    def close(self) -> None:
        self.workers.close()
        for bell in self.bells:
            bell.close()

    def send(
        self, sequence: int, *, kind: str = "neighbour-miss", at: int = 0, worker: int = 1,
        **more: Any,
    ) -> bool:  # fmt: skip
        urgency = lib.URGENCY_FAULT if kind == "worker-fault" else lib.URGENCY_NEIGHBOUR
        event = Event(kind, urgency, worker, sequence, at or sequence, port=sequence % 60000,
                      address=ADDRESS, **more)  # fmt: skip
        return self.queue.send(encode(event), urgency)

    def wait(self, worker: int, port: int, now: int = 0) -> None:
        """The worker notes in its stats object that a packet waits."""
        row = ADDRESS.packed.ljust(16, b"\0")
        lib.waits_note(self.tables[worker], port, 4, row, now or lib_now())

    def ring(self, worker: int = 1) -> None:
        self.bells[worker].send(b"x")

    def run(self, script: Callable[[], None], done: Callable[[], bool], seconds: float) -> float:
        """Runs the script with the loop at work; seconds until `done`, which must come in time."""

        async def scenario() -> float:
            loop = asyncio.get_running_loop()
            self.events.listen()
            try:
                start = loop.time()
                script()
                while not done():
                    assert loop.time() - start < seconds, (self.log, self.counters)
                    await asyncio.sleep(0.001)
                return loop.time() - start
            finally:
                self.events.close()

        return asyncio.run(scenario())

    def told(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.log if event == name]


def lib_now() -> int:
    return time.monotonic_ns()
