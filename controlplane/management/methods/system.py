"""The methods about the router itself: version, stop, reload, processes, faults.

`stop` answers that the supervisor was asked, not that it is done; `reload` when the plan is in
force, or when it is not and the one before is. Control only.
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
from ribcage.shared.build import VERSION, build_id
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan, PlanError
from ribcage.shared.plan_changes import changes, needs_restart, refuse_plan
from ribcage.shared.process.rights import TRIALS

ASK = 2.0  # seconds the supervisor may take to answer
RELOAD = 25.0  # and all of us to put a plan in force

FAULTS = ("fib-write", "abort", "exit42", "segv", "hang", *TRIALS)


@method("system.version")
def version(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": router.names.instance,
        "pid": os.getpid(),
        "generation": router.core.publisher.generation,
        "teach": router.core.plan.teach,
        "config": router.core.plan.config_path,
        "version": VERSION,
        "build": build_id(),
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
async def reload(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Checks the plan; the supervisor takes it and hands it to everybody, us included. What it
    changes, and what of it could not be had."""
    try:
        plan = Plan.from_json(params.get("plan") or {})
    except PlanError as error:
        raise RibcageError(
            "E_PLAN", str(error), "`ribcage config check FILE` says where", Exit.CONFIG
        ) from error
    running = router.core.plan
    allow_empty = params.get("allow_empty") is True
    refuse_plan(plan, running, allow_empty)
    request = {"type": "reload-request", "plan": plan.to_json(), "allow_empty": allow_empty}
    done = await router.ask(request, RELOAD)
    if done.get("error"):
        why = str(done["error"])[:300]
        raise RibcageError("E_RELOAD", f"the plan is not in force: {why}", None, Exit.NO)
    return {
        "accepted": True,
        "routes": len(plan.routes),
        "interfaces": len(plan.interfaces),
        "needs_restart": needs_restart(plan, running),
        "changes": changes(plan, running),
        **router.report(),
    }


@method("system.upgrade", Role.ADMIN)
async def upgrade(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The supervisor tries the build, becomes it, then moves everybody; `system.story` tells."""
    python = params.get("python")
    if not (python is None or isinstance(python, str)):
        raise RibcageError("E_TYPE", f"python is {type(python).__name__}, not a path")
    body = {"type": "upgrade-request", "python": python, "force": params.get("force") is True}
    answer = await router.ask(body, ASK)
    if answer.get("error"):
        hint = answer.get("hint")
        raise RibcageError("E_UPGRADE", str(answer["error"])[:400],
                           hint if isinstance(hint, str) else None, Exit.NO)  # fmt: skip
    return {"upgrade": answer.get("upgrade")}


@method("system.story")
async def story(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The steps of the last upgrade of this supervisor; empty when there was none."""
    answer = await router.ask({"type": "story-request"}, ASK)
    return {"story": answer.get("story")}


@method("process.list")
async def process_list(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """`look`: maps and rights too, read by the supervisor at this moment."""
    request = {"type": "ps-request", "look": params.get("look") is True}
    answer = await router.ask(request, ASK)
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
    answer = await router.ask({"type": "fault-request", "worker": worker, "kind": kind}, ASK)
    if answer.get("error"):
        raise RibcageError("E_FAULT", str(answer["error"])[:200], None, Exit.NO)
    return {"worker": worker, "kind": kind}
