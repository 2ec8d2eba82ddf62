"""What the tests of the core ask it."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.memory.rows import rows_of


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(scenario())  # type: ignore[arg-type]


def add(core: Any, prefix: str, nexthops: NexthopSet, metric: int = 0, remove: bool = False) -> Any:
    number = core.nexthops.intern(nexthops)
    wanted = Wanted(ip_network(prefix), RUNTIME.number, nexthops, metric, 1)
    return core.publisher.commit(rows_of([wanted.row(0 if remove else number)]), 1, 1)


async def differences(core: Any) -> list[Any]:
    report = await core.verify(samples=500)
    return report["differences"]
