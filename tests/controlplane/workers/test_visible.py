"""Waiting for workers: the asleep and the dead are not waited for, the late are named."""

import asyncio

import pytest

from ribcage.controlplane.workers.visible import Look, Visibility, count_seen, wait_visible
from ribcage.shared.errors import Exit, RibcageError


def look(worker: int, generation: int, *, alive: bool = True, asleep: bool = False) -> Look:
    return Look(worker, alive, generation, 100 + worker, asleep)


class Script:
    """A worker whose looks are given; the last one repeats."""

    def __init__(self, *looks: Look) -> None:
        self.looks = list(looks)

    def look(self) -> Look:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def test_a_worker_that_began_a_batch_with_it_has_seen_it() -> None:
    assert count_seen([look(0, 7), look(1, 8)], 7) == Visibility(2, 2, 101)


def test_a_sleeping_worker_counts_and_a_dead_one_is_not_asked() -> None:
    seen = count_seen([look(0, 3, asleep=True), look(1, 1, alive=False)], 7)
    assert seen == Visibility(1, 2, 0, absent=((1, "absent"),))
    assert seen.to_json() == {"seen": 1, "of": 2, "absent": [{"worker": 1, "state": "absent"}]}


def test_a_late_worker_is_waited_for() -> None:
    late = Script(look(1, 6), look(1, 6), look(1, 7))
    seen = asyncio.run(wait_visible([Script(look(0, 9)), late], 7))
    assert seen == Visibility(2, 2, 101)


def test_a_worker_that_never_comes_is_named() -> None:
    """E_TIMEOUT, exit 6, with the worker and both generations."""
    times = iter([0.0, 1.0, 3.0, 4.0, 5.0])
    stuck = Script(look(1, 41))
    with pytest.raises(RibcageError) as caught:
        asyncio.run(wait_visible([Script(look(0, 42)), stuck], 42, 2.0, lambda: next(times)))
    assert caught.value.code == "E_TIMEOUT"
    assert caught.value.exit_code == Exit.TIMEOUT
    assert "1 of 2 workers" in caught.value.message
    assert "worker1 is at generation 41 of 42" in caught.value.message


def test_the_loop_goes_on_while_waiting() -> None:
    """Another task runs between the looks."""

    async def scenario() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await wait_visible([Script(*[look(0, 1)] * 50, look(0, 2))], 2)
        task.cancel()
        return turns

    assert asyncio.run(scenario()) >= 40


def test_a_worker_that_is_not_believed_is_named_at_once_and_not_counted() -> None:
    """It neither holds the answer up nor is said to use the route."""
    liar = Look(1, True, 10**9, 5, True, "says generation 1000000000, the newest is 7")
    assert count_seen([look(0, 7), liar], 7) == Visibility(1, 2, 100, (), (1,))
    clock = iter([0.0])  # asked once: nobody waits until the deadline
    with pytest.raises(RibcageError) as caught:
        asyncio.run(wait_visible([Script(look(0, 7)), Script(liar)], 7, 2.0, lambda: next(clock)))
    assert caught.value.code == "E_WORKER_ODD" and caught.value.exit_code == Exit.TIMEOUT
    assert "1 of 2 workers use it: worker1 says generation 1000000000" in caught.value.message
