"""The router as the methods of the management socket see it. Made by process/running.py."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.loads import Loads
from ribcage.controlplane.routes.requests import RouteRequests
from ribcage.controlplane.workers.events import WorkerEvents
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.process.names import Names


@dataclass(frozen=True, slots=True)
class RouterView:
    """`say` and `ask` go to the supervisor, who may take the given seconds; `report` says what of
    the plan in force could not be had; `checkpoint` writes the routes into their file; `facts`
    tells of this process, for `ipc show` and `version`."""

    core: Core
    names: Names
    instance_id: int
    workers: Workers
    events: WorkerEvents
    requests: RouteRequests
    loads: Loads
    say: Callable[[dict[str, Any]], None]
    ask: Callable[[dict[str, Any], float], Awaitable[dict[str, Any]]]
    report: Callable[[], dict[str, Any]]
    checkpoint: Callable[[], Awaitable[dict[str, Any]]]
    facts: Callable[[], dict[str, Any]]
