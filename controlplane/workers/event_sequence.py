"""Counts whether every event of a worker arrived, and each once. Pure.

    order = EventOrder();  order.take(event) -> False for a repetition
    missing = order.take_missing()  # when the queue is empty: numbers given that never came

A worker numbers its events from 1 on, over its restarts. Urgent ones overtake, so a number that
is missing now may come later; once the queue is empty it will not, because one sender's messages
enter the queue in the order of their numbers. A number is taken twice only by the successor of a
worker that was killed between sending and counting: that is another event, with another time.

Numbers are a worker's word (or that of another in its name): a gap that no worker could have made
is not believed, and counting begins anew. The caller asks about workers that there are.
"""

from dataclasses import dataclass, field

from ribcage.shared.process.events import Event

REMEMBERED = 1024  # events a worker, between two times that the queue was seen empty

LARGEST_GAP = 1 << 20  # events missing at once: 17 minutes of a worker that asks as often as it may


@dataclass(slots=True)
class _Sender:
    accounted: int = -1  # all numbers up to this one are accounted for; -1: nothing was heard yet
    highest: int = 0
    seen: dict[int, int] = field(default_factory=dict)  # number -> mono_ns, those above `accounted`
    last: tuple[int, int] = (0, 0)  # of the newest event accounted for


class EventOrder:
    """Of all workers. `duplicates` and `gaps` (events that never came) count since start."""

    def __init__(self) -> None:
        self.duplicates = 0
        self.gaps = 0
        self.absurd = 0
        self._workers: dict[int, _Sender] = {}

    def take(self, event: Event) -> bool:
        """Whether the event is new."""
        worker = self._workers.setdefault(event.worker, _Sender())
        identity = (event.sequence, event.mono_ns)
        if worker.seen.get(event.sequence) == event.mono_ns or worker.last == identity:
            self.duplicates += 1
            return False
        if len(worker.seen) < REMEMBERED:
            worker.seen[event.sequence] = event.mono_ns
        else:  # a storm that never ends: what came is not checked, and not called missing either
            worker.accounted = max(worker.accounted, event.sequence)
        worker.highest = max(worker.highest, event.sequence)
        return True

    def take_missing(self) -> dict[int, int]:
        """The queue is empty: worker -> how many of its events are missing, those that miss any."""
        missing = {}
        for number, worker in list(self._workers.items()):
            if not worker.seen:
                continue
            # Whatever was before the first event heard is a predecessor's, or nobody's.
            first = min(worker.seen) - 1 if worker.accounted < 0 else worker.accounted
            came = sum(sequence > first for sequence in worker.seen)
            gap = max(0, worker.highest - first - came)
            if gap > LARGEST_GAP:
                self._workers[number] = _Sender()
                self.absurd += 1
                continue
            if gap:
                missing[number] = gap
                self.gaps += gap
            worker.accounted = max(first, worker.highest)
            newest = max(worker.seen)
            worker.last = (newest, worker.seen[newest])
            worker.seen.clear()
        return missing
