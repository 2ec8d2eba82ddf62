"""Control's housekeeping: gateways, hosts, unused next-hop sets, one check after a takeover.

    housekeeping = Housekeeping(core, links.manage_gateways, neighbours.probe_hosts, log)
    housekeeping.published()            # after each publish
    await housekeeping.check()          # after a takeover

A publish is what makes any of it necessary, so it alone starts the timers: a router that knows no
host on its links does nothing here. Control only.
"""

import asyncio
import time
from collections.abc import Callable

from ribcage.controlplane.routes.core import Core

GATEWAYS_AFTER = 0.25  # after a publish: which gateways should be kept resolved
RECLAIM_AFTER = 1.0  # after a publish: which next-hop sets are used no more
PROBE_EVERY = 1.0  # as long as there are hosts: whether they are still there
VERIFY_LOOKUPS = 10_000  # of the check after a takeover


class Housekeeping:
    """See the module's text. `manage_gateways` does nothing before the first sweep of the links;
    `probe_hosts` asks about some hosts, and says False when there are none."""

    def __init__(
        self,
        core: Core,
        manage_gateways: Callable[[], None],
        probe_hosts: Callable[[], bool],
        log: Callable[..., None],
    ) -> None:
        self.core = core
        self.manage_gateways = manage_gateways
        self.probe_hosts = probe_hosts
        self.log = log
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def published(self) -> None:
        """Something changed: see soon what has to be looked after."""
        loop = asyncio.get_running_loop()
        for name, delay, work in (
            ("gateways", GATEWAYS_AFTER, self._gateways),
            ("reclaim", RECLAIM_AFTER, self._reclaim),
            ("probe", PROBE_EVERY, self._probe),
        ):
            if name not in self._timers:
                self._timers[name] = loop.call_later(delay, work)

    def close(self) -> None:
        """No timer runs any more."""
        for timer in self._timers.values():
            timer.cancel()

    async def check(self) -> None:
        """After a takeover: RIB and FIB agree, or are made to, with an error in the log."""
        core = self.core
        core.clear_strays()
        report = await core.verify(VERIFY_LOOKUPS)
        if report["count"] == 0:
            self.log("info", "verify.done", routes=report["rib"], seconds=report["seconds"])
            return
        self.log("error", "verify.differs", count=report["count"],
                 first=str(report["differences"][:3])[:500])  # fmt: skip
        repaired = self.core.repair()
        self.log("warning", "verify.repaired", routes=repaired)

    def _gateways(self) -> None:
        del self._timers["gateways"]
        self.manage_gateways()

    def _probe(self) -> None:
        del self._timers["probe"]
        if self.probe_hosts():
            loop = asyncio.get_running_loop()
            self._timers["probe"] = loop.call_later(PROBE_EVERY, self._probe)

    def _reclaim(self) -> None:
        del self._timers["reclaim"]
        self.core.nexthops.reclaim(self.core.publisher.counters.publishes)
        if self.core.forwarding.changed:
            self.core.publisher.touch(time.monotonic_ns())
