"""Attached: the supervisor has said which router this is. The lock is taken, the tables opened.

The lock may be held for a moment longer by a predecessor that was killed, hence a state of its
own: messages come meanwhile, and mean what they mean to a process without tables.
"""

import os
import time
from contextlib import suppress
from typing import Any

from ribcage.controlplane.process.running import Running
from ribcage.controlplane.process.state import ControlContext, ControlState
from ribcage.controlplane.process.tables.segments import open_segments
from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import Plan, PlanError
from ribcage.shared.process import log as lines
from ribcage.shared.process.events import QueueName
from ribcage.shared.process.message import Message
from ribcage.shared.process.names import Names
from ribcage.shared.process.port_rings import PortRings
from ribcage.shared.process.title import show_as


class Attached(ControlState):
    """See the module's text. `body` is the attach message, `fib` the workers' descriptor of theirs
    (-1: they have none), closed once the tables are open."""

    def __init__(self, context: ControlContext, body: dict[str, Any], fib: int = -1) -> None:
        super().__init__(context)
        self._body = body
        self._fib = fib
        self._reloads: list[Message] = []
        self._died = False
        self.messages = {**self.messages, "reload": self._reloads.append}

    def worker_died(self) -> None:
        """Until there is a table nobody can break its lock; Running does."""
        self._died = True

    async def begin(self) -> None:
        """Until the router runs. A failure is the end of the process: the next one begins anew."""
        try:
            await self._begin(time.monotonic_ns())
        except Exception as error:
            self.context.fail(error)

    async def _begin(self, start: int) -> None:
        body, context = self._body, self.context
        try:
            plan = Plan.from_json(body["plan"])
            names = Names.from_json(body.get("names"))
            instance_id = int(body["instance_id"])
        except (PlanError, KeyError, TypeError, ValueError) as error:
            raise RibcageError("E_ATTACH", f"attach message: {error}") from error
        # A standby becomes control: its log lines and its name in `ps` say so.
        lines.setup("control", plan.log.level, plan.log.format)
        show_as("control", names.instance)
        context.log("debug", "control.attached", instance=names.instance)
        lent = self._fib if self._fib >= 0 else None
        try:
            segments = await open_segments(
                names, plan, instance_id, context.log, body.get("sync_key"), context.workers.sync,
                lent,
            )  # fmt: skip
        finally:
            if lent is not None:
                os.close(lent)
        context.workers.use(segments.fib.writer.born, lambda: segments.fib.writer.generation)
        queue, number = QueueName.from_json(body), body.get("plan_id")
        running = Running(
            context, plan, names, instance_id, segments, queue, number,
            _indices(body.get("ports")),
        )  # fmt: skip
        context.become(running)
        if self._died:
            running.worker_died()
        # Newer than the plan of our attach message, and nobody will send it again.
        for message in self._reloads:
            running.messages["reload"](message)
        await running.begin(start)


def _indices(ports: object) -> dict[str, int]:
    """Ports that the supervisor has open: index by name. What is none is left out."""
    found = {}
    for port in ports if isinstance(ports, list) else []:
        with suppress(RibcageError):
            rings = PortRings.from_json(port)
            found[rings.name] = rings.index
    return found
