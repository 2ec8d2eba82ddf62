"""Decides when a dead child is started again: at once, or later; never is no answer. Pure.

A child that had become ready and lived a while is restarted at once; one that keeps dying waits
0, 10, 20, 40 ms ... up to MAX_DELAY. After `limit` restarts within `window` seconds each further
one waits MAX_DELAY: nobody is given up, and a death that repeats costs little.
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
    _restarts: deque[float] = field(default_factory=deque)
    _row: int = 0  # deaths in a row without a stable life

    def died(self, now: float, ready_for: float) -> float:
        """Seconds to wait before the restart.

        `ready_for`: how long the child had been ready, 0 when it never was.
        """
        while self._restarts and now - self._restarts[0] >= self.window:
            self._restarts.popleft()
        if len(self._restarts) >= self.limit:
            return MAX_DELAY
        self._restarts.append(now)
        if ready_for >= STABLE:
            self._row = 0
        delay = 0.0 if self._row == 0 else min(MAX_DELAY, FIRST_DELAY * 2 ** (self._row - 1))
        self._row = min(self._row + 1, 32)
        return delay

    def reset(self) -> None:
        self._restarts.clear()
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
