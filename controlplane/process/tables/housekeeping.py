"""Control's housekeeping: gateways, hosts, unused next-hop sets. For the tables see healing.py.

    housekeeping = Housekeeping(core, links.manage_gateways, neighbours.probe_hosts)
    housekeeping.published()            # after each publish

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


class Housekeeping:
    """See the module's text. `manage_gateways` does nothing before the first sweep of the links;
    `probe_hosts` asks about some hosts, and says False when there are none."""

    def __init__(
        self,
        core: Core,
        manage_gateways: Callable[[], None],
        probe_hosts: Callable[[], bool],
    ) -> None:
        self.core = core
        self.manage_gateways = manage_gateways
        self.probe_hosts = probe_hosts
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
