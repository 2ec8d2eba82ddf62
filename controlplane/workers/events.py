"""Receives what workers report: the event queue, their bells, and who acts on an event.

    events = WorkerEvents(workers, queue, neighbours.miss, counters, log, say)
    events.listen();  events.renew(queue);  events.close()

A worker that was killed between queueing and ringing leaves an event without a bell, hence a look
every SLOW_BELL. An event never raises into the loop. Not promised: that each arrives: what a full
queue refused is told as a number by `lost`, every number that never came (those included) is
counted as `events_gap`, and above ALARM the log warns before that.

Resync: an event is a hint, the state is elsewhere. Which neighbours packets wait for is in the
stats objects (misses.py), port state is netlink's, generation and counters are read from the stats
object; so a gap needs no other answer than to be counted and told.

A worker can write anything into the queue, as any other worker, without pause; or remove it. Of
workers that are not there nothing is kept, a slice of time takes at most SLICE messages, the log
has few lines of it, and a queue that is gone or was tampered with is asked for anew. Control only.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from ribcage.shared._core import lib

from ribcage.controlplane.workers.event_sequence import EventOrder
from ribcage.controlplane.workers.misses import Misses
from ribcage.controlplane.workers.workers import Workers, WorkerSlot
from ribcage.shared.addresses import Address
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.budget import Budget
from ribcage.shared.process.events import Event, EventQueue, QueueName

EVENTS = 64  # taken from the queue before others have their turn
FAULTS = {lib.WORKER_FAULT_MESSAGE: "message", lib.WORKER_FAULT_INJECTED: "injected"}
ALARM, WELL = 0.8, 0.6  # share of the queue in use: warned about above, over below
SLOW_BELL = 0.1  # seconds: the most a lost bell may cost (design)
SLICE = 1024  # messages taken in SLOW_BELL at most: a tenth of a core, however many are sent
LINES, AT_ONCE = 2.0, 20.0  # log lines of one kind of event, a second and at once
ASK = 1.0  # seconds between two requests for another queue


class WorkerEvents:
    """See the module's text. `on_miss(port, address)` is told of a packet that waits for a
    neighbour; `say` is to the supervisor, who makes the queue."""

    def __init__(
        self,
        workers: Workers,
        queue: QueueName | None,
        on_miss: Callable[[int, Address], None],
        counters: dict[str, int],
        log: Callable[..., None],
        say: Callable[[dict[str, Any]], None],
    ) -> None:
        self.queue: EventQueue | None = None
        self.workers = workers
        self.misses = Misses(workers, on_miss)
        self.counters = counters
        self.log = log
        self.say = say
        self._name = queue
        self._order = EventOrder()
        self._alarmed = False
        self.counters |= dict.fromkeys(COUNTED, 0)
        self._timer: asyncio.TimerHandle | None = None
        self._left = SLICE
        self._lines: dict[str, Budget] = {}  # of the kinds of lines below
        self._asked = 0.0  # when, for another queue
        self._lost = False  # told

    def listen(self) -> None:
        """Opens the queue and hears the bells from now on."""
        self._open()
        self.workers.listen(self._rung)
        self._timer = asyncio.get_running_loop().call_later(SLOW_BELL, self._slow_bell)

    def close(self) -> None:
        """Hears nothing any more; the queue and the bells stay for the successor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.workers.deafen()

    def renew(self, queue: QueueName | None) -> None:
        """The supervisor says which queue it is now."""
        if queue is None:
            return
        self._name = queue
        self.queue = None
        self._order = EventOrder()  # what lay in the other one is lost
        if self._open():
            self.log("info", "events.queue_found", key=f"{queue.key:#x}")

    def _open(self) -> bool:
        if self._name is None:
            return False
        try:
            queue = EventQueue.open(self._name.key)
            wrong = queue.fault(self._name.bytes)
        except RibcageError as error:
            wrong = error.message
        if wrong is not None:
            self._queue_lost(wrong)
            return False
        self.queue, self._lost = queue, False
        return True

    def _queue_lost(self, why: str) -> None:
        """Told once; asked for again until there is another."""
        self.queue = None
        if self._name is None:
            return
        if not self._lost:
            self._lost = True
            self.counters["queues_lost"] += 1
            self.log("error", "events.queue_lost", key=f"{self._name.key:#x}", why=why)
        if time.monotonic() - self._asked >= ASK:
            self._asked = time.monotonic()
            self.say({"type": "queue-lost", "why": why[:200]})

    def _rung(self, slot: WorkerSlot) -> None:
        self.misses.look(slot)
        self._take()

    def _slow_bell(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SLOW_BELL, self._slow_bell)
        self._left = SLICE
        self.misses.look_at_all()
        self.counters["misses_refused"] = self.misses.refused
        if self.queue is None:
            self._open()
        elif self._name is not None and (wrong := self.queue.fault(self._name.bytes)) is not None:
            self._queue_lost(wrong)
        self._take()

    def _take(self) -> None:
        most = min(EVENTS, self._left)
        if self.queue is None or most == 0:
            return
        try:
            self._look_at_depth(self.queue)
            events, taken = self.queue.receive(most)
        except RibcageError as error:
            self._queue_lost(error.message)
            return
        self._left -= taken
        for event in events:
            self._act_on(event)
        self.counters["events_refused"] += taken - len(events)
        if taken < most:
            self._count_missing()
        elif self._left:
            asyncio.get_running_loop().call_soon(self._take)

    def _act_on(self, event: Event) -> None:
        self.counters["events"] += 1
        if event.worker not in self.workers.slots and event.worker not in self.workers.resting:
            self.counters["events_refused"] += 1  # of a worker that there is none
            return
        if not self._order.take(event):
            self.counters["events_repeated"] += 1
            return
        try:
            self._one(event)
        except Exception as error:
            self.counters["events_failed"] += 1
            self._tell("error", "event.failed", type=event.type, error=repr(error)[:200])

    def _count_missing(self) -> None:
        """The queue is empty: what has not come by now never will."""
        for worker, missing in self._order.take_missing().items():
            self.counters["events_gap"] += missing
            self._tell("warning", "events.gap", worker=worker, count=missing)

    def _look_at_depth(self, queue: EventQueue) -> None:
        """Before each take, when it is deepest: the high-water mark, and one warning a filling."""
        queued, room = queue.fill()
        if queued > ALARM * room and not self._alarmed:
            self._alarmed = True
            self.counters["queue_alarms"] += 1
            self._tell("warning", "events.queue", queued=queued, room=room)
        elif queued < WELL * room:
            self._alarmed = False

    def _tell(self, level: str, event: str, **fields: object) -> None:
        """A line of what workers made us say: few, and how many there would have been."""
        budget = self._lines.setdefault(event, Budget(LINES, AT_ONCE))
        if budget.take(time.monotonic()):
            if budget.refused:
                fields["untold"], budget.refused = budget.refused, 0
            self.log(level, event, **fields)

    def _one(self, event: Event) -> None:
        match event.type:
            case "neighbour-miss":
                if event.address is not None:
                    self.misses.told(event.port, event.address)
            case "worker-fault":
                self._tell("error", "worker.fault", worker=event.worker, code=event.code,
                         what=FAULTS.get(event.code) or os.strerror(event.code))  # fmt: skip
            case "worker-ready":
                self._tell("debug", "worker.ready", worker=event.worker,
                           generation=event.generation)  # fmt: skip
            case "port-error":
                self._tell("warning", "port.error", worker=event.worker, port=event.port,
                         code=event.code)  # fmt: skip
            case "lost":
                self._tell("warning", "events.lost", worker=event.worker, count=event.count)


COUNTED = (
    "events_repeated", "events_gap", "events_refused", "misses_refused", "queue_alarms",
    "queues_lost",
)  # fmt: skip
