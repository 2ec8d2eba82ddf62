"""SIGUSR1: control's view of everything, in a file for a person to read.

    dumps = Dumps(names.control_dump, handlers.dumped(), core, log);  await dumps.write()

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

from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.sources import SOURCE_NAMES

SLICE = 500
MAX_ROUTES = 100_000  # 10 MB of a run directory that may be memory

Answers = dict[str, Callable[[], Any]]


class Dumps:
    """One dump at a time; a request meanwhile is the same dump. `answers`: name -> JSON value."""

    def __init__(self, path: Path, answers: Answers, core: Core, log: Callable[..., None]) -> None:
        self.path = path
        self.answers = answers
        self.core = core
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
        for name, answer in self.answers.items():
            file.write(f"{json.dumps(name)}: {json.dumps(answer(), default=str)},\n")
            await asyncio.sleep(0)
        file.write('"routes": [')
        written = await self._routes(file)
        total = self.core.rib.counts().rows
        file.write(f'],\n"routes_left_off": {max(0, total - written)}\n}}\n')
        return written

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
                    "source": SOURCE_NAMES.get(route.source, str(route.source)),
                    "type": nexthops.kind.label if nexthops else "?",
                    "via": [str(hop.gateway) for hop in nexthops.hops()] if nexthops else [],
                }
                file.write(f"{',' if written else ''}\n{json.dumps(row, default=str)}")
                written += 1
            await asyncio.sleep(0)
            if cursor is None:
                break
        return written
