"""What the tests of the core ask it."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

from ribcage.controlplane.fib.verify import verify
from ribcage.controlplane.routes.sources import (
    SOURCE_RUNTIME,
    Wanted,
)
from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.controlplane.values.rows import pack


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(scenario())  # type: ignore[arg-type]


def add(core: Any, prefix: str, nexthops: NexthopSet, metric: int = 0, remove: bool = False) -> Any:
    number = core.nexthops.intern(nexthops)
    wanted = Wanted(ip_network(prefix), SOURCE_RUNTIME, nexthops, metric, 1)
    rows, count = pack([wanted], [0 if remove else number])
    return core.publisher.commit(rows, count, 1)


async def differences(core: Any) -> list[Any]:
    report = await verify(core, samples=500)
    return report["differences"]
