"""Receives what workers report: the event queue, its bell, and who acts on an event.

    events = WorkerEvents(bell, queue_key, neighbours.miss, counters, log)
    events.listen();  events.close()

The bell is an eventfd; a worker that was killed between queueing and ringing leaves an event
without a bell, hence a look every SLOW_BELL. An event never raises into the loop. Not promised:
that each arrives: what a full queue refused is told as a number by `lost`, every number that never
came (those included) is counted as `events_gap`, and above ALARM the log warns before that.

Resync: an event is a hint, the state is elsewhere. A worker asks again about a neighbour while
packets wait, port state is netlink's, and generation and counters are read from its stats object;
so a gap needs no other answer than to be counted and told. Control only.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

from ribcage.shared._core import lib

from ribcage.controlplane.workers.event_sequence import EventOrder
from ribcage.shared.addresses import Address
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.events import Event, EventQueue

EVENTS = 64  # taken from the queue before others have their turn
FAULTS = {lib.WORKER_FAULT_MESSAGE: "message", lib.WORKER_FAULT_INJECTED: "injected"}
ALARM, WELL = 0.8, 0.6  # share of the queue in use: warned about above, over below
SLOW_BELL = 0.1  # seconds: the most a lost bell may cost (design)


class WorkerEvents:
    """See the module's text. `bell` is -1 when there is none; `on_miss(port, address)` is told of
    a packet that waits for a neighbour."""

    def __init__(
        self,
        bell: int,
        queue_key: object,
        on_miss: Callable[[int, Address], None],
        counters: dict[str, int],
        log: Callable[..., None],
    ) -> None:
        self.queue: EventQueue | None = None
        self.bell = bell
        self.on_miss = on_miss
        self.counters = counters
        self.log = log
        self._queue_key = queue_key
        self._order = EventOrder()
        self._alarmed = False
        self.counters |= dict.fromkeys(("events_repeated", "events_gap", "queue_alarms"), 0)
        self._timer: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        """Opens the queue and hears the bell from now on."""
        loop, key = asyncio.get_running_loop(), self._queue_key
        if isinstance(key, int):
            try:
                self.queue = EventQueue.open(key)
            except RibcageError as error:
                self.log("error", "events.absent", why=error.message)
        if self.bell >= 0:
            loop.add_reader(self.bell, self._rung)
        self._timer = loop.call_later(SLOW_BELL, self._slow_bell)

    def close(self) -> None:
        """Hears nothing any more; the queue and the bell stay for the successor."""
        if self._timer is not None:
            self._timer.cancel()
        if self.bell >= 0:
            asyncio.get_running_loop().remove_reader(self.bell)

    def _rung(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.bell, 8)
        self._take()

    def _slow_bell(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SLOW_BELL, self._slow_bell)
        self._take()

    def _take(self) -> None:
        if self.queue is None:
            return
        try:
            self._look_at_depth(self.queue)
            received = self.queue.counters.received + self.queue.counters.refused
            events = self.queue.receive_batch(EVENTS)
            received = self.queue.counters.received + self.queue.counters.refused - received
        except RibcageError as error:
            self.log("error", "events.gone", why=error.message)
            self.queue = None
            return
        for event in events:
            self.counters["events"] += 1
            if not self._order.take(event):
                self.counters["events_repeated"] += 1
                continue
            try:
                self._one(event)
            except Exception as error:
                self.counters["events_failed"] += 1
                self.log("error", "event.failed", type=event.type, exc_info=error)
        if received == EVENTS:
            asyncio.get_running_loop().call_soon(self._take)
        else:
            self._count_missing()

    def _count_missing(self) -> None:
        """The queue is empty: what has not come by now never will."""
        for worker, missing in self._order.take_missing().items():
            self.counters["events_gap"] += missing
            self.log("warning", "events.gap", worker=worker, count=missing)

    def _look_at_depth(self, queue: EventQueue) -> None:
        """Before each take, when it is deepest: the high-water mark, and one warning a filling."""
        queued, room = queue.fill()
        if queued > ALARM * room and not self._alarmed:
            self._alarmed = True
            self.counters["queue_alarms"] += 1
            self.log("warning", "events.queue", queued=queued, room=room)
        elif queued < WELL * room:
            self._alarmed = False

    def _one(self, event: Event) -> None:
        match event.type:
            case "neighbour-miss":
                if event.address is not None:
                    self.on_miss(event.port, event.address)
            case "worker-fault":
                self.log("error", "worker.fault", worker=event.worker, code=event.code,
                         what=FAULTS.get(event.code) or os.strerror(event.code))  # fmt: skip
            case "worker-ready":
                self.log("debug", "worker.ready", worker=event.worker, generation=event.generation)
            case "port-error":
                self.log("warning", "port.error", worker=event.worker, port=event.port,
                         code=event.code)  # fmt: skip
            case "lost":
                self.log("warning", "events.lost", worker=event.worker, count=event.count)
