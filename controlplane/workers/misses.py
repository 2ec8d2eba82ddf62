"""Which neighbours the workers wait for: what they say in their stats objects, and in the queue.

    misses = Misses(workers, neighbours.miss)
    misses.look(slot); misses.look_at_all()      # its bell rang; every tenth of a second
    misses.told(port, address)                   # an event of the queue said so

The stats object is what counts: each worker has rows of its own that no other can fill or write.
The queue is one for all, and who sent a message it does not say: a hint that may come sooner. Each
worker, and the queue, has a budget of its own, all together less than the kernel is asked in a
second (kernel/neighbours.py), so none can use up another's. Control only.
"""

import time
from collections.abc import Callable

from ribcage.controlplane.workers.workers import Workers, WorkerSlot
from ribcage.shared.addresses import Address
from ribcage.shared.process.budget import Budget

ALL = 1400.0  # a second, shared by the workers; what the kernel is asked is 2,000
EACH = 700.0  # at most
AT_ONCE = 256.0
QUEUE = 400.0
OLD_NS = 3_000_000_000  # a row of before that: the packet is not held any more


class Misses:
    """See the module's text. `on_miss(port, address)` checks both: they are a worker's word."""

    def __init__(self, workers: Workers, on_miss: Callable[[int, Address], None]) -> None:
        self.workers = workers
        self.on_miss = on_miss
        self._budgets: dict[int, Budget] = {}  # of the slots there are
        self._queue = Budget(QUEUE, AT_ONCE)
        self._turn = 0

    @property
    def refused(self) -> int:
        """Rows and events that were not looked at, their worker's budget being spent."""
        return self._queue.refused + sum(budget.refused for budget in self._budgets.values())

    def look(self, slot: WorkerSlot) -> None:
        """What this worker waits for since the last look."""
        if slot.stats is None:
            return
        budget = self._budgets.setdefault(slot.index, Budget(EACH, AT_ONCE))
        budget.rate = min(EACH, ALL / max(1, len(self.workers.slots)))
        now = time.monotonic_ns()
        for port, address in slot.stats.new_waits(now - OLD_NS):
            if budget.take(now / 1e9):
                self.on_miss(port, address)

    def look_at_all(self) -> None:
        """Every worker, another one first each time."""
        slots = self.workers.watches()
        self._turn += 1
        for at in range(len(slots)):
            self.look(slots[(self._turn + at) % len(slots)])
        for index in self._budgets.keys() - self.workers.slots.keys():
            del self._budgets[index]

    def told(self, port: int, address: Address) -> None:
        if self._queue.take(time.monotonic()):
            self.on_miss(port, address)
