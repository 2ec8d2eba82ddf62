"""Every method of the management socket: its name, who answers it, who may call it.

    methods = Handlers(control).methods()        # name -> Method, for ManagementServer

The answers are in methods_system.py, methods_route.py, methods_show.py, routes.py and loads.py;
whether a caller has the right is checked by the server, not here. Control only.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ribcage.controlplane.management.methods.route import RouteMethods
from ribcage.controlplane.management.methods.show import ShowMethods
from ribcage.controlplane.management.methods.system import Control, SystemMethods
from ribcage.controlplane.management.peer import Peer, Role
from ribcage.controlplane.management.server import Call, Method
from ribcage.controlplane.routes.loads import Loads
from ribcage.controlplane.routes.routes import Routes


class Handlers:
    """See the module's text. `routes` and `loads` keep what is open."""

    def __init__(self, control: Control) -> None:
        self.routes = Routes(control.core, control.workers.watches)
        self.loads = Loads(control.core, self.routes.finish)
        self.system = SystemMethods(control)
        self.route = RouteMethods(control, self.routes, self.loads)
        self.show = ShowMethods(control)

    def dumped(self) -> dict[str, Callable[[], Any]]:
        """What a dump shows beside the routes: the answers of methods that need no caller."""
        show, core = self.show, self.system.core
        nobody = Call(Peer(0, 0, 0, Role.VIEWER), 0, lambda hook: None)
        return {
            "version": lambda: self.system.version(nobody, {}),
            "rib": lambda: asdict(core.rib.counts()),
            "fib": lambda: show.fib_show(nobody, {}),
            "neighbours": lambda: show.neighbour_list(nobody, {"limit": 65536}),
            "stats": lambda: show.stats_show(nobody, {}),
            "drops": lambda: show.drops_show(nobody, {}),
            "ipc": lambda: show.ipc_show(nobody, {}),
            "rejected": self.routes.rejected,
        }

    def methods(self) -> dict[str, Method]:
        system, route, show = self.system, self.route, self.show
        view, change, rule = Role.VIEWER, Role.OPERATOR, Role.ADMIN
        table: dict[str, tuple[Callable[[Call, dict[str, Any]], Any], Role]] = {
            "system.version": (system.version, view),
            "system.ping": (lambda call, params: {}, view),
            "system.stop": (system.stop, rule),
            "system.reload": (system.reload, rule),
            "process.list": (system.process_list, view),
            "route.list": (route.route_list, view),
            "route.get": (route.route_get, view),
            "route.add": (lambda call, params: self.routes.add(params), change),
            "route.del": (lambda call, params: self.routes.delete(params), change),
            "route.load.begin": (route.load_begin, change),
            "route.load.chunk": (lambda call, params: {"rows": self.loads.chunk(params)}, change),
            "route.load.commit": (lambda call, params: self.loads.commit(params), change),
            "route.load.abort": (route.load_abort, change),
            "explain": (show.explain, view),
            "fib.show": (show.fib_show, view),
            "fib.verify": (show.fib_verify, view),
            "stats.show": (show.stats_show, view),
            "drops.show": (show.drops_show, view),
            "neighbour.list": (show.neighbour_list, view),
            "ipc.show": (show.ipc_show, view),
            "fault.inject": (system.fault_inject, rule),
        }
        return {name: Method(handler, role) for name, (handler, role) in table.items()}
