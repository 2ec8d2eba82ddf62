"""What control is in: waiting, attached or running. Each state is an object of a class of its own.

    Waiting    imported, no lock, no route      attach, promote -> Attached        waiting.py
    Attached   takes the lock, opens the tables                 -> Running         attached.py
    Running    owns the tables, serves clients, hears the kernel                   running.py

A state has what exists in it as attributes from its constructor on, so nobody asks whether
something is there yet: who needs the tables is given them, or is another state's business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ribcage.controlplane.process.supervisor_link import SupervisorLink
from ribcage.controlplane.process.tasks import Tasks
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.process.message import Message

Handlers = Mapping[str, Callable[[Message], None]]


class ControlState:
    """A state without tables. `messages`: those of the supervisor that have a meaning in it; the
    caller closes descriptors that are left in them."""

    def __init__(self, context: "ControlContext") -> None:
        self.context = context
        self.messages: Handlers = {"reload": self._refuse}

    def _refuse(self, message: Message) -> None:
        error = "this process has no routes yet"
        self.context.log("error", "reload.failed", why=error)
        self.context.link.say({"type": "done", "id": message.body.get("id"), "error": error})

    def worker_died(self) -> None:
        """It may have held a lock of the FIB's."""

    def supervisor_gone(self) -> None:
        """Nothing of ours is worth waiting for."""
        self.context.finish(False)

    async def stop(self, undo: bool) -> None:
        """Orderly. `undo`: take back what was changed in the kernel, too."""
        await self.context.tasks.cancel()
        self.context.workers.close()


@dataclass(frozen=True, slots=True)
class ControlContext:
    """What every state has. `become` changes the state; `finish(undo)` and `fail(error)` end the
    process."""

    link: SupervisorLink
    log: Callable[..., None]
    tasks: Tasks
    workers: Workers
    counters: dict[str, int]
    become: Callable[[ControlState], None]
    finish: Callable[[bool], None]
    fail: Callable[[Exception], None]
