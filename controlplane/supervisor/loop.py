"""The supervisor's event loop: descriptors and timers, one thread, nothing else.

Use: `loop.watch(fd, callback)`, `timer = loop.after(0.5, callback)`, `loop.run()` until
`loop.stop()`. Callbacks must not block. A callback that raises is a bug and ends the loop: the
supervisor's death is what children survive, a supervisor in an unknown state is not.

Sleeps until the next deadline, so an idle supervisor wakes for nothing. Deadlines are monotonic
and survive EINTR (the wait is simply begun again with the time left).
"""

import heapq
import itertools
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

READ = select.EPOLLIN
WRITE = select.EPOLLOUT


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


class Loop:
    """epoll and a heap of timers. Owns no descriptor but its epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, fd: int, callback: Callable[[], None], events: int = READ) -> None:
        """Calls back while `fd` is ready. Unwatch before closing the descriptor."""
        self._watches[fd] = _Watch(callback, events)
        self._epoll.register(fd, events)

    def events(self, fd: int, events: int) -> None:
        """Changes what is waited for; write interest only while output is pending."""
        watch = self._watches[fd]
        if watch.events != events:
            watch.events = events
            self._epoll.modify(fd, events)

    def watches(self, fd: int) -> bool:
        return fd in self._watches

    def unwatch(self, fd: int) -> Callable[[], None] | None:
        """What was called back, for who wants to watch it again."""
        watch = self._watches.pop(fd, None)
        if watch is None:
            return None
        self._epoll.unregister(fd)
        return watch.callback

    def after(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + delay, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        self._running = True
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
                watch.callback()
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                callback()

    def close(self) -> None:
        self._epoll.close()
