"""A token bucket: so many a second, so many at once. What a less trusted process may cost us.

budget = Budget(rate=100.0, burst=50.0)
if not budget.take(time.monotonic()): ...        # `refused` counts
"""


class Budget:
    """Pure: the clock is an argument, and may stand still."""

    __slots__ = ("_filled", "_tokens", "burst", "rate", "refused")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self.refused = 0
        self._tokens = burst
        self._filled = 0.0

    def take(self, now: float) -> bool:
        """Whether one more is allowed at monotonic time `now`."""
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._filled) * self.rate)
        self._filled = now
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        return True
