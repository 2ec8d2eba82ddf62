"""The methods of a bulk load: begin, chunk, commit, abort; see routes/loads.py.

A load that is open goes with the client that began it. Control only.
"""

from collections.abc import Awaitable
from typing import Any

from ribcage.controlplane.management.methods.method import method
from ribcage.controlplane.management.peer import Role
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call


@method("route.load.begin", Role.OPERATOR)
def begin(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    number = router.loads.begin(params).number

    def forget() -> None:
        router.loads.abort(number)

    call.on_close(forget)
    return {"id": number}


@method("route.load.chunk", Role.OPERATOR)
def chunk(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {"rows": router.loads.chunk(params)}


@method("route.load.commit", Role.OPERATOR)
def commit(router: RouterView, call: Call, params: dict[str, Any]) -> Awaitable[dict[str, Any]]:
    return router.loads.commit(params)


@method("route.load.abort", Role.OPERATOR)
def abort(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {"aborted": router.loads.abort(params.get("id"))}
