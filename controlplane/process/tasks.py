"""The work that goes on beside the loop's callbacks: begun by name, cancelled together.

tasks = Tasks();  tasks.spawn(housekeeping.check(), "verify");  await tasks.cancel()
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

CANCEL_WAIT = 0.4  # for tasks under way at the stop; the supervisor gives all of it 5 s


class Tasks:
    """See the module's text. What a task raises is for the loop's exception handler."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def cancel(self) -> None:
        """Cancels all, and waits for their end for a moment."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_WAIT)
