"""The methods about the router itself: version, stop, reload, processes, faults.

    methods = SystemMethods(control)     # one method a name of the management socket

`Control` is what any method needs of the process; see control.py. A handler checks its params (a
wrong one is a named error) and returns JSON values. `stop` and `reload` answer that the supervisor
was asked, not that it is done. Control only.
"""

import asyncio
import os
from collections.abc import Awaitable
from typing import Any, Protocol

from ribcage.controlplane.management import proc
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.values.parse import parse_number, parse_word
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan, PlanError
from ribcage.shared.plan_changes import needs_restart
from ribcage.shared.process.events import EventQueue
from ribcage.shared.process.names import Names

FAULTS = ("fib-write", "abort", "exit42", "segv", "hang")


class Control(Protocol):
    """What methods need of the process."""

    core: Core
    names: Names
    instance_id: int
    workers: Workers

    @property
    def plan(self) -> Plan: ...
    @property
    def queue(self) -> EventQueue | None: ...
    def say(self, message: dict[str, Any]) -> None: ...
    def ask(self, message: dict[str, Any]) -> Awaitable[dict[str, Any]]: ...
    def facts(self) -> dict[str, Any]: ...


class SystemMethods:
    """See the module's text."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.core = control.core

    def version(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": self.control.names.instance,
            "pid": os.getpid(),
            "generation": self.core.publisher.generation,
            "teach": self.control.plan.teach,
            "config": self.control.plan.config_path,
            **self.control.facts(),
        }

    def stop(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        """The supervisor stops everybody in order; the reply leaves first."""
        asyncio.get_running_loop().call_later(
            0.02, lambda: self.control.say({"type": "stop-request"})
        )
        return {"stopping": True}

    def reload(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        """Checks the plan; the supervisor takes it and hands it to everybody, us included."""
        try:
            plan = Plan.from_json(params.get("plan") or {})
        except PlanError as error:
            raise RibcageError(
                "E_PLAN", str(error), "`ribcage config check FILE` says where", Exit.CONFIG
            ) from error
        self.control.say({"type": "reload-request", "plan": plan.to_json()})
        return {
            "accepted": True,
            "routes": len(plan.routes),
            "interfaces": len(plan.interfaces),
            "needs_restart": needs_restart(plan, self.control.plan),
        }

    async def process_list(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        answer = await self.control.ask({"type": "ps-request"})
        rows = answer.get("processes")
        instance = self.control.names.instance
        return {
            "processes": [
                proc.join(row, instance)
                for row in (rows if isinstance(rows, list) else [])
                if isinstance(row, dict)
            ]
        }

    async def fault_inject(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        """Only with --teach: makes one worker do something wrong."""
        if not self.control.plan.teach:
            raise RibcageError(
                "E_TEACH", "faults are for routers started with --teach", None, Exit.NO
            )
        worker = parse_number(params, "worker", 0, 0, 1023)
        kind = parse_word(params, "kind", "fib-write", FAULTS)
        answer = await self.control.ask({"type": "fault-request", "worker": worker, "kind": kind})
        if answer.get("error"):
            raise RibcageError("E_FAULT", str(answer["error"])[:200], None, Exit.NO)
        return {"worker": worker, "kind": kind}
