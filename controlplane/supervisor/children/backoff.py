"""Decides when a dead child is started again: at once, soon, or every few seconds. Pure.

A child that had become ready and lived a while is restarted at once; one that keeps dying waits
0, 10, 20, 40 ms ... up to MAX_DELAY. Of these quick restarts there are at most `limit` within
`window` seconds: beyond it each try waits MAX_DELAY. No slot is ever given up.

Deaths after a stable life do not count: one start a second costs the machine little, a flow that
waits for seconds costs its user a lot, and whoever kills a worker now and then is no crash loop.
"""

from collections import deque
from dataclasses import dataclass, field

FIRST_DELAY = 0.01
MAX_DELAY = 5.0
STABLE = 1.0  # seconds of ready life after which the delay begins anew


@dataclass(slots=True)
class Backoff:
    """The history of one slot."""

    limit: int
    window: float
    _quick: deque[float] = field(default_factory=deque)  # when the quick restarts were granted
    _row: int = 0  # deaths in a row without a stable life

    def died(self, now: float, ready_for: float) -> float:
        """Seconds to wait before the restart.

        `ready_for`: how long the child had been ready, 0 when it never was.
        """
        while self._quick and now - self._quick[0] >= self.window:
            self._quick.popleft()
        if ready_for >= STABLE:
            self._row = 1
            return 0.0
        delay = 0.0 if self._row == 0 else min(MAX_DELAY, FIRST_DELAY * 2 ** (self._row - 1))
        self._row = min(self._row + 1, 32)
        if len(self._quick) >= self.limit:
            return MAX_DELAY
        if delay < MAX_DELAY:
            self._quick.append(now)
        return delay

    def reset(self) -> None:
        self._quick.clear()
        self._row = 0


@dataclass(slots=True)
class ForkRetry:
    """The pause after a fork that failed (EAGAIN, ENOMEM): 0.1, 0.2, ... MAX_DELAY seconds.

    Not counted as restarts: nothing died, the machine is short of something.
    """

    _failures: int = 0

    def failed(self) -> float:
        delay = min(MAX_DELAY, 0.1 * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        return float(delay)

    def succeeded(self) -> None:
        self._failures = 0
