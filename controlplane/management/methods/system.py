"""The methods about the router itself: version, stop, reload, processes, faults.

`stop` and `reload` answer that the supervisor was asked, not that it is done. Control only.
"""

import asyncio
import os
from typing import Any

from ribcage.controlplane.management import proc
from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.peer import Role
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.values.parse import parse_number, parse_word
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan, PlanError
from ribcage.shared.plan_changes import needs_restart

FAULTS = ("fib-write", "abort", "exit42", "segv", "hang")


@method("system.version")
def version(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": router.names.instance,
        "pid": os.getpid(),
        "generation": router.core.publisher.generation,
        "teach": router.core.plan.teach,
        "config": router.core.plan.config_path,
        **router.facts(),
    }


@method("system.ping")
def ping(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {}


@method("system.stop", Role.ADMIN)
def stop(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The supervisor stops everybody in order; the reply leaves first."""
    asyncio.get_running_loop().call_later(0.02, lambda: router.say({"type": "stop-request"}))
    return {"stopping": True}


@method("system.reload", Role.ADMIN)
def reload(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Checks the plan; the supervisor takes it and hands it to everybody, us included."""
    try:
        plan = Plan.from_json(params.get("plan") or {})
    except PlanError as error:
        raise RibcageError(
            "E_PLAN", str(error), "`ribcage config check FILE` says where", Exit.CONFIG
        ) from error
    router.say({"type": "reload-request", "plan": plan.to_json()})
    return {
        "accepted": True,
        "routes": len(plan.routes),
        "interfaces": len(plan.interfaces),
        "needs_restart": needs_restart(plan, router.core.plan),
    }


@method("process.list")
async def process_list(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    answer = await router.ask({"type": "ps-request"})
    rows = answer.get("processes")
    instance = router.names.instance
    return {
        "processes": [
            proc.join(row, instance)
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
        ]
    }


@method("fault.inject", Role.ADMIN)
async def fault_inject(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Only with --teach: makes one worker do something wrong."""
    if not router.core.plan.teach:
        raise RibcageError("E_TEACH", "faults are for routers started with --teach", None, Exit.NO)
    worker = parse_number(params, "worker", 0, 0, 1023)
    kind = parse_word(params, "kind", "fib-write", FAULTS)
    answer = await router.ask({"type": "fault-request", "worker": worker, "kind": kind})
    if answer.get("error"):
        raise RibcageError("E_FAULT", str(answer["error"])[:200], None, Exit.NO)
    return {"worker": worker, "kind": kind}
