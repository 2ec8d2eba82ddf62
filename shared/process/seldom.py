"""Log lines that somebody else can cause without end: one a second of each kind, with a count.

    seldom = Seldom(log)
    seldom.say("warning", "management.too_many", uid=1000)   # left_out=134000 when it speaks again

The counters count all; the line is for a person. A kind is an event, and what it is `about`, if
that is said. Bounded: KINDS of them, all others share one. Any process.
"""

import time
from collections.abc import Callable

from ribcage.shared.process.log import Log

EVERY = 1.0  # seconds
KINDS = 64


class Seldom:
    """See the module's text. `now` is a monotonic clock, for tests."""

    def __init__(self, log: Log, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._now = now
        self._kinds: dict[str, list[float]] = {}  # event -> [when it was said, left out since]

    def say(self, level: str, event: str, about: str = "", **fields: object) -> bool:
        """Whether it was said."""
        now = self._now()
        key = f"{event} {about}"
        key = key if key in self._kinds or len(self._kinds) < KINDS else ""
        kind = self._kinds.setdefault(key, [now - EVERY, 0])
        if now - kind[0] < EVERY:
            kind[1] += 1
            return False
        if kind[1]:
            fields["left_out"] = int(kind[1])
        kind[0], kind[1] = now, 0
        self._log(level, event, **fields)
        return True
