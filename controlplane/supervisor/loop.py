"""The supervisor's event loop: descriptors and timers, one thread, nothing else.

Use: `loop.watch(fd, callback)`, `timer = loop.after(0.5, callback)`, `loop.run()` until
`loop.stop()`. Callbacks must not block. One that raises is logged and counted, and the loop goes
on: what failed belongs to one child or one object, and mending.py looks for what was left undone.
A descriptor whose callback raises rests for a while, or it would be called again for ever.

Sleeps until the next deadline, so an idle supervisor wakes for nothing. Deadlines are monotonic
and survive EINTR (the wait is simply begun again with the time left).
"""

import contextlib
import heapq
import itertools
import select
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from ribcage.shared.errors import RibcageError
from ribcage.shared.process.log import log

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
LONGEST_REST = 1.0  # seconds


@dataclass(slots=True, order=True)
class Timer:
    """A pending call; `cancel()` is always allowed."""

    when: float
    order: int
    callback: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        self.callback = None


@dataclass(slots=True, eq=False)
class _Watch:
    callback: Callable[[], None]
    events: int
    failures: int = 0  # in a row
    resting: bool = False


class Loop:
    """epoll and a heap of timers. Owns no descriptor but its epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._running = True
        self.failures = 0  # callbacks that raised

    def watch(self, fd: int, callback: Callable[[], None], events: int = READ) -> None:
        """Calls back while `fd` is ready. Unwatch before closing the descriptor."""
        self._epoll.register(fd, events)
        self._watches[fd] = _Watch(callback, events)

    def events(self, fd: int, events: int) -> None:
        """Changes what is waited for; write interest only while output is pending."""
        watch = self._watches[fd]
        if watch.events != events:
            watch.events = events
            if not watch.resting:
                self._epoll.modify(fd, events)

    def watches(self, fd: int) -> bool:
        return fd in self._watches

    def unwatch(self, fd: int) -> Callable[[], None] | None:
        """What was called back, for who wants to watch it again."""
        watch = self._watches.pop(fd, None)
        if watch is None:
            return None
        if not watch.resting:
            with contextlib.suppress(OSError):  # it was closed before: nothing is watched
                self._epoll.unregister(fd)
        return watch.callback

    def after(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + delay, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    @staticmethod
    def now() -> float:
        """The clock of `after`: monotonic seconds."""
        return time.monotonic()

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Until `stop`, which may have been said before."""
        while self._running:
            self.turn()

    def turn(self) -> None:
        """Waits for the next event or deadline and serves all that is ready."""
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        timeout = -1.0
        if self._timers:
            timeout = max(0.0, self._timers[0].when - time.monotonic())
        ready = [(fd, self._watches.get(fd)) for fd, _ in self._epoll.poll(timeout)]
        for fd, watch in ready:
            # An earlier callback may have closed this descriptor, and its number may already
            # belong to another: only the watch that was there at poll time may run.
            if watch is not None and self._watches.get(fd) is watch:
                if self._call(watch.callback):
                    watch.failures = 0
                else:
                    self._rest(fd, watch)
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                self._call(callback)

    def _call(self, callback: Callable[[], None]) -> bool:
        try:
            callback()
        except Exception as error:
            self.failures += 1
            known = isinstance(error, OSError | RibcageError)
            trace = {} if known else {"trace": traceback.format_exc()[-2000:]}
            log("error", "loop.failed", what=getattr(callback, "__qualname__", "?"),
                error=f"{type(error).__name__}: {error}", **trace)  # fmt: skip
            return False
        return True

    def _rest(self, fd: int, watch: _Watch) -> None:
        """Nobody is told of this descriptor for a moment."""
        if self._watches.get(fd) is not watch:
            return

        def again() -> None:
            if self._watches.get(fd) is watch:
                watch.resting = False
                self._epoll.register(fd, watch.events)

        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        watch.resting = True
        watch.failures += 1
        self.after(min(LONGEST_REST, 0.01 * 2 ** min(watch.failures, 10)), again)

    def close(self) -> None:
        self._epoll.close()
