"""The files whose methods the management socket serves, and all of them by name.

    ManagementServer(path, plan, serve(router))        # name -> Method

A new method is a function with @method (method.py) in one of these files; a new file is a line
here. `system.clients` is the server's own.
"""

from functools import partial
from types import ModuleType

from ribcage.controlplane.management.methods import (
    checkpoint,
    fib,
    ipc,
    load,
    neighbour,
    packet,
    route,
    system,
    workers,
)
from ribcage.controlplane.management.methods.method import NamedMethod
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Method

FILES: tuple[ModuleType, ...] = (
    system, route, load, checkpoint, packet, fib, workers, neighbour, ipc,
)  # fmt: skip


def methods() -> list[NamedMethod]:
    """All that the files define, in their order."""
    return [one for file in FILES for one in vars(file).values() if isinstance(one, NamedMethod)]


def serve(router: RouterView) -> dict[str, Method]:
    """The methods of one router; a name that stands twice is a mistake of ours."""
    served: dict[str, Method] = {}
    for one in methods():
        assert one.name not in served, f"two methods are called {one.name}"
        served[one.name] = Method(partial(one.answer, router), one.role)
    return served
