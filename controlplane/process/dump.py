"""Writes control's view of everything into a file, for a person to read (SIGUSR1).

    dumps = Dumps(names.control_dump, router, log);  await dumps.write()

The same answers as the management socket gives, one after another, then routes in slices with a
turn of the loop between them: updates and clients wait for one slice at most. Bounded: the first
MAX_ROUTES routes, and how many were left off. The file appears whole, by a rename. Control only.
"""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ribcage.controlplane.management.methods import fib, ipc, neighbour, system, workers
from ribcage.controlplane.management.methods.method import NamedMethod
from ribcage.controlplane.management.peer import Peer, Role
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call
from ribcage.controlplane.routes.sources.table import source_name

SLICE = 500
MAX_ROUTES = 100_000  # 10 MB of a run directory that may be memory

NOBODY = Call(Peer(0, 0, 0, Role.VIEWER), 0, lambda hook: None)


class Dumps:
    """One dump at a time; a request meanwhile is the same dump."""

    def __init__(self, path: Path, router: RouterView, log: Callable[..., None]) -> None:
        self.path = path
        self.router = router
        self.core = router.core
        self.log = log
        self._writing = False

    async def write(self) -> None:
        """Never raises: what fails is logged, and a broken file is not left."""
        if self._writing:
            return
        self._writing = True
        temporary = self.path.with_suffix(".tmp")
        try:
            fd = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o600,
            )  # fmt: skip
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                routes = await self._body(file)
            temporary.replace(self.path)
            self.log("info", "dump", file=str(self.path), routes=routes)
        except Exception as error:
            temporary.unlink(missing_ok=True)
            self.log("error", "dump", why=str(error)[:200])
        finally:
            self._writing = False

    async def _body(self, file: TextIO) -> int:
        file.write("{\n")
        for name, answer in self._answers().items():
            file.write(f"{json.dumps(name)}: {json.dumps(answer(), default=str)},\n")
            await asyncio.sleep(0)
        file.write('"routes": [')
        written = await self._routes(file)
        total = self.core.rib.counts().rows
        file.write(f'],\n"routes_left_off": {max(0, total - written)}\n}}\n')
        return written

    def _answers(self) -> dict[str, Callable[[], Any]]:
        """What stands beside the routes: the answers of methods that need no caller."""

        def asked(method: NamedMethod, **params: Any) -> Callable[[], Any]:
            return lambda: method.answer(self.router, NOBODY, params)

        return {
            "version": asked(system.version),
            "rib": lambda: asdict(self.core.rib.counts()),
            "fib": asked(fib.fib_show),
            "neighbours": asked(neighbour.neighbour_list, limit=65536),
            "stats": asked(workers.stats_show),
            "drops": asked(workers.drops_show),
            "ipc": asked(ipc.ipc_show),
            "rejected": self.router.requests.rejected,
        }

    async def _routes(self, file: TextIO) -> int:
        """One line a candidate, in the order of prefixes."""
        cursor: str | None = None
        written = 0
        while written < MAX_ROUTES:
            routes, cursor = self.core.rib.walk(cursor, min(SLICE, MAX_ROUTES - written))
            for route in routes:
                nexthops = self.core.forwarding.sets.get(route.nexthop)
                row = {
                    **asdict(route),
                    "source": source_name(route.source),
                    "type": nexthops.kind.label if nexthops else "?",
                    "via": [str(hop.gateway) for hop in nexthops.hops()] if nexthops else [],
                }
                file.write(f"{',' if written else ''}\n{json.dumps(row, default=str)}")
                written += 1
            await asyncio.sleep(0)
            if cursor is None:
                break
        return written
