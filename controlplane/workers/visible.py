"""Waits until workers use a change. Their stats objects tell; the workers are never asked.

A worker counts as having seen generation g when it began a batch with g or a later one, or when
it sleeps in poll() with no batch open: its next batch begins with the newest. Neither is true of
a worker that has another FIB than the one that counts, until it gets that. Nobody is woken and
nobody is waited for inside the loop: the objects are mapped, and the coroutine looks at them
between other work, at most until its deadline.

What an object says is its worker's word. What cannot be true (a generation that was never
published, a time to come) is not believed: such a worker is counted as one that does not use the
change, is not waited for, and is named. Within what could be true a worker can lie, about itself.

Control only. A worker that died, hangs or is stopped is not waited for: it is told by name, and its
successor begins with the newest.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ribcage.shared._core import lib

from ribcage.shared.errors import Exit, RibcageError

DEADLINE = 2.0  # seconds
SPINS = 200  # looks with nothing but a turn of the loop between them: about the first ms
PAUSE = 0.0005


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one worker's stats object."""

    worker: int
    alive: bool
    generation: int
    t4: int  # when the batch that first had `generation` began; 0 = never
    asleep: bool  # in poll(), no batch open
    odd: str = ""  # what it says that cannot be true
    state: str = "absent"  # what to call it while it is not alive
    before: bool = False  # it has the FIB before this one

    def uses(self, generation: int) -> bool:
        """Whether it forwards by `generation` or a later one, or will with its next batch."""
        return not self.odd and (self.generation >= generation or self.asleep)


class Watch(Protocol):
    """A mapped stats object."""

    def look(self) -> Look: ...


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who uses a generation: `t4` of the slowest that had to begin a batch, 0 when all slept.
    `of` is the number of workers that there should be; those in `absent` are not alive."""

    seen: int
    of: int
    t4: int
    lagging: tuple[int, ...] = ()
    odd: tuple[int, ...] = ()  # not believed, and not waited for
    absent: tuple[tuple[int, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        absent = [{"worker": worker, "state": state} for worker, state in self.absent]
        return {"seen": self.seen, "of": self.of} | ({"absent": absent} if absent else {})


def count_seen(looks: Iterable[Look], generation: int) -> Visibility:
    """Who of the workers uses `generation` or a later one."""
    every = list(looks)
    living = [look for look in every if look.alive]
    odd = tuple(look.worker for look in living if look.odd)
    used = [look for look in living if look.uses(generation)]
    lagging = tuple(look.worker for look in living if not look.odd and not look.uses(generation))
    t4 = max((look.t4 for look in used if look.generation >= generation), default=0)
    absent = tuple((look.worker, look.state) for look in every if not look.alive)
    return Visibility(len(used), len(every), t4, lagging, odd, absent)


async def wait_visible(
    watches: Iterable[Watch],
    generation: int,
    deadline: float = DEADLINE,
    clock: Callable[[], float] = time.monotonic,
) -> Visibility:
    """Waits until every living worker uses `generation`.

    E_TIMEOUT (exit 6) names the workers that do not, E_WORKER_ODD those that are not believed;
    the change itself stays in force.
    """
    watches = list(watches)
    end = clock() + deadline
    turns = 0
    while True:
        seen = count_seen([watch.look() for watch in watches], generation)
        if not seen.lagging and seen.odd:
            raise _odd_worker(watches, seen)
        if not seen.lagging:
            return seen
        if clock() >= end:
            raise timed_out(watches, generation, deadline, seen)
        turns += 1
        await asyncio.sleep(0 if turns < SPINS else PAUSE)


def _odd_worker(watches: Iterable[Watch], seen: Visibility) -> RibcageError:
    looks = [watch.look() for watch in watches]
    told = "; ".join(f"worker{look.worker} {look.odd}" for look in looks if look.alive and look.odd)
    return RibcageError(
        "E_WORKER_ODD",
        f"published, and {seen.seen} of {seen.of} workers use it: {told}",
        "the change is in force; a worker whose counters cannot be true is broken or not ours any "
        "more: `kill` it, its successor begins anew",
        Exit.TIMEOUT,
    )


def timed_out(
    watches: Iterable[Watch], generation: int, deadline: float, seen: Visibility
) -> RibcageError:
    """The error that says which worker is at which generation."""
    looks = {look.worker: look for look in (watch.look() for watch in watches)}
    late = ", ".join(
        f"worker{worker} still has the FIB before"
        if looks[worker].before
        else f"worker{worker} is at generation {looks[worker].generation} of {generation}"
        for worker in seen.lagging
    )
    return RibcageError(
        "E_TIMEOUT",
        f"published, but after {deadline:g} s only {seen.seen} of {seen.of} workers use it: {late}",
        "the change is in force; `ribcage ps` shows what the worker does",
        Exit.TIMEOUT,
    )


def asleep(state: int) -> bool:
    """Whether a worker in this state has no batch open."""
    return state in (lib.WORKER_POLLING, lib.WORKER_QUIESCED)
