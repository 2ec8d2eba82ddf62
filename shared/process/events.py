"""The event queue: one SysV message queue, workers send, control receives the urgent first.

Use: `queue = EventQueue.create()` (supervisor; `queue.key` goes into the state file),
`EventQueue.open(key)`, `queue.receive_batch(64)` (control, after its bell rang or every 100 ms).
Workers send from C (csrc/report/event.h); `encode` is for tests and tools.

Never blocks. Takes the lowest mtype first, whatever was sent before it, and every type: a message
that nobody takes would stay and fill the queue. A record of another version, type, urgency or
length is counted and skipped: no field of it is trusted, and who sent it the queue does not say.
The size of the queue is the kernel's to decide: `limits()` tells what was granted. Who may write
to it may also remove or spoil it: `fault()` says so, and the supervisor makes another.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sysv_ipc
from ribcage.shared._core import ffi, lib

from ribcage.shared.addresses import Address
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fields import read_address, set_address

LEAST_URGENT = lib.URGENCY_INFO
TYPES = {
    lib.EVENT_WORKER_READY: "worker-ready",
    lib.EVENT_WORKER_FAULT: "worker-fault",
    lib.EVENT_PORT_ERROR: "port-error",
    lib.EVENT_NEIGHBOUR_MISS: "neighbour-miss",
    lib.EVENT_LOST: "lost",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Fields beyond `mono_ns` mean something for some types only (event_layout.h);
    `address` is None where there is none."""

    type: str
    urgency: int
    worker: int
    sequence: int
    mono_ns: int
    count: int = 0
    generation: int = 0
    port: int = 0
    address: Address | None = None
    code: int = 0


@dataclass(frozen=True, slots=True)
class QueueName:
    """What the supervisor says of its queue: the key, and how many bytes it was granted."""

    key: int
    bytes: int = 0  # 0: not known

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "QueueName | None":
        """Of a message with `queue_key` and `queue_bytes`; None when it names no queue."""
        key, size = body.get("queue_key"), body.get("queue_bytes")
        if type(key) is not int:
            return None
        return cls(key, size if type(size) is int else 0)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bytes: what the kernel grants one message and this queue; and what lies in it now."""

    message_max: int
    queue_bytes: int
    queued: int
    queued_bytes: int


@dataclass(slots=True)
class QueueCounters:
    """Of one receiver. `lost` sums what workers said they lost, `refused` what was not ours."""

    received: int = 0
    refused: int = 0
    lost: int = 0
    high_water: int = 0  # most messages seen waiting


class EventQueue:
    """A handle; removing the object is the creator's business."""

    def __init__(self, queue: sysv_ipc.MessageQueue) -> None:
        self._queue = queue
        self.counters = QueueCounters()
        self._room = ffi.new("struct event_arrival[]", 64)

    @classmethod
    def create(cls, mode: int = 0o600, queue_bytes: int = 0) -> "EventQueue":
        """A queue under a random key. Asks for queue_bytes, takes what the kernel grants."""
        while True:
            key = int.from_bytes(os.urandom(4), "little") >> 1 | 1
            try:
                queue = sysv_ipc.MessageQueue(key, sysv_ipc.IPC_CREX, mode=mode)
                break
            except sysv_ipc.ExistentialError:
                continue  # somebody's key: take another
        if queue_bytes:
            # Above kernel.msgmnb without CAP_SYS_RESOURCE it stays as it is; limits() tells.
            with contextlib.suppress(sysv_ipc.Error, OSError, ValueError):
                queue.max_size = queue_bytes
        return cls(queue)

    @classmethod
    def open(cls, key: int) -> "EventQueue":
        """RibcageError E_QUEUE when there is none or it is not ours to read."""
        try:
            return cls(sysv_ipc.MessageQueue(key))
        except (sysv_ipc.Error, OSError) as error:
            raise RibcageError(
                "E_QUEUE", f"no event queue {key:#x}: {error}", exit_code=Exit.NO_DAEMON
            ) from error

    @property
    def key(self) -> int:
        return int(self._queue.key)

    @property
    def id(self) -> int:
        return int(self._queue.id)

    def remove(self) -> None:
        """Gone for everybody; no error when it was already."""
        with contextlib.suppress(sysv_ipc.ExistentialError):
            self._queue.remove()

    def receive_batch(self, most: int = 64) -> list[Event]:
        """Up to `most` records, urgent first; fewer events when records were refused.

        RibcageError E_QUEUE when the queue is gone.
        """
        return self.receive(most)[0]

    def receive(self, most: int = 64) -> tuple[list[Event], int]:
        """`receive_batch`, and how many messages were taken for it, those refused included."""
        taken = lib.event_receive(self.id, self._arrivals(most), most)
        if taken < 0:
            why = os.strerror(-taken)
            raise RibcageError("E_QUEUE", f"event queue {self.key:#x} is gone: {why}")
        events: list[Event] = []
        for arrival in self._room[0:taken]:
            event = _event(arrival.record, arrival.length, arrival.urgency)
            if event is None:
                self.counters.refused += 1
                continue
            self.counters.received += 1
            if event.type == "lost":
                self.counters.lost += event.count
            events.append(event)
        return events, taken

    def _arrivals(self, most: int) -> Any:
        if len(self._room) < most:
            self._room = ffi.new("struct event_arrival[]", most)
        return self._room

    def fault(self, size: int) -> str | None:
        """What somebody did to the queue, None when it is as it was made with `size` bytes."""
        try:
            granted, mode = int(self._queue.max_size), int(self._queue.mode)
        except (sysv_ipc.Error, OSError) as error:
            return str(error)
        if size and granted != size:
            return f"it has room for {granted} bytes, and was made with {size}"
        return None if mode & 0o600 == 0o600 else f"its mode is {mode:04o}"

    def send(self, raw: bytes, urgency: int) -> bool:
        """For tests and tools: False when the queue is full."""
        try:
            self._queue.send(raw, block=False, type=urgency)
        except sysv_ipc.BusyError:
            return False
        return True

    def fill(self) -> tuple[int, int]:
        """Messages waiting, and how many there is room for; notes the high-water mark."""
        queued = int(self._queue.current_messages)
        self.counters.high_water = max(self.counters.high_water, queued)
        return queued, int(self._queue.max_size) // lib.EVENT_SIZE

    def limits(self) -> QueueLimits:
        queued, _ = self.fill()
        return QueueLimits(
            int(Path("/proc/sys/kernel/msgmax").read_text()),
            int(self._queue.max_size),
            queued,
            queued * lib.EVENT_SIZE,
        )


def decode(raw: bytes, urgency: int) -> Event | None:
    """None for a record that is not ours."""
    record = ffi.new("struct event_record *")
    ffi.memmove(record, raw, min(len(raw), lib.EVENT_SIZE))
    return _event(record, len(raw), urgency)


def _event(record: Any, length: int, urgency: int) -> Event | None:
    if length != lib.EVENT_SIZE or not 1 <= urgency <= LEAST_URGENT:
        return None
    name = TYPES.get(record.type)
    payload = record.payload
    if record.version != lib.EVENT_VERSION or name is None or payload.family not in (0, 4, 6):
        return None
    return Event(
        name, urgency, record.worker, record.sequence, record.mono_ns, payload.count,
        payload.generation, payload.port, read_address(payload.address, payload.family),
        payload.code,
    )  # fmt: skip


def encode(event: Event) -> bytes:
    """Inverse of `decode`, for tests and tools."""
    number = next(n for n, name in TYPES.items() if name == event.type)
    record = ffi.new("struct event_record *")
    record.version, record.type, record.worker = lib.EVENT_VERSION, number, event.worker
    record.sequence, record.mono_ns = event.sequence, event.mono_ns
    payload = record.payload
    payload.count, payload.generation, payload.port = event.count, event.generation, event.port
    payload.code = event.code
    if event.address is not None:
        payload.family = set_address(payload.address, event.address)
    return bytes(ffi.buffer(record))
