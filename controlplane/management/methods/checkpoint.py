"""The method that writes the checkpoint now: for before a reboot, or a copy. Control only."""

from typing import Any

from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.peer import Role
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call


@method("rib.checkpoint", Role.ADMIN)
async def checkpoint(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Answers when the file is on the disk."""
    return await router.checkpoint()
