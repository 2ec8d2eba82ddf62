"""Makes the rings of the first ports while control makes its tables: they need no interface yet.

    prepare_rings(context)         # after the first forks; blocks for a grace period of the kernel

Control asks for a port for each interface of the plan that is there, and for the host port. What
it does not ask for by the time the router is ready is closed (`drop_rings`). Supervisor only.
"""

import contextlib
import socket

from ribcage.controlplane.supervisor.context import Context


def prepare_rings(context: Context) -> None:
    """Never raises: what cannot be made now is made, or told, when its port is asked for."""
    ports = 1  # the host port, which control makes
    for interface in context.plan.interfaces:
        with contextlib.suppress(OSError):
            socket.if_nametoindex(interface.name)
            ports += 1
    rings = context.plan.rings
    context.ports.prepare(rings.slots, rings.slot_bytes, ports * len(context.workers))
