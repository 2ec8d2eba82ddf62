"""A bounded table of the neighbours on our ports, and a limit on how often we ask for one.

    table = NeighbourTable(max_neighbours=4096)
    events = table.apply(message, generation)
    if resolver.admit(key, now): send(resolve_request(...))

Pure: no sockets; the clock is an argument. The kernel runs the state machine, the retries and
the ageing (RFC 826, RFC 4861); this file only remembers its answers, keeps the set of gateways
to stay resolved ("managed"), and limits how often we ask: packets from outside decide which
neighbours are asked for, so a scan of a /64 must cost neither memory nor the kernel's table.
"""

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from ribcage.controlplane.kernel.events import (
    DELAY,
    FAILED,
    GONE,
    INCOMPLETE,
    PERMANENT,
    PROBE,
    REACHABLE,
    STALE,
    KernelEvent,
    NeighbourEvent,
)
from ribcage.controlplane.kernel.netlink.messages import NeighbourMessage
from ribcage.shared.addresses import Address

NeighbourKey = tuple[int, Address]  # ifindex, address

USABLE = frozenset({REACHABLE, STALE, DELAY, PROBE, PERMANENT})
KNOWN = USABLE | {INCOMPLETE, FAILED}


class NeighbourTable:
    """Entries by (ifindex, address), at most `limit`; `refused` counts those beyond it.

    Managed neighbours are let in above the limit: the configuration bounds them, and a flood of
    hosts must not push out a gateway.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.refused = 0
        self.entries: dict[NeighbourKey, NeighbourEvent] = {}
        self._seen: dict[NeighbourKey, int] = {}

    def apply(
        self, message: NeighbourMessage, generation: int, managed: bool = False
    ) -> list[KernelEvent]:
        """The events of one neighbour message; none when MAC and state are as before."""
        key = (message.ifindex, message.address)
        if message.gone:
            return self.lose(key)
        if message.state not in KNOWN:
            return []  # noarp and none: multicast and the like, never resolved
        if key not in self.entries and len(self.entries) >= self.limit and not managed:
            self.refused += 1
            return []
        mac = message.mac if message.state in USABLE and len(message.mac) == 6 else None
        new = NeighbourEvent(message.ifindex, message.address, mac, message.state)
        old = self.entries.get(key)
        self.entries[key] = new
        self._seen[key] = generation
        return [] if new == old else [new]

    def lose(self, key: NeighbourKey) -> list[KernelEvent]:
        """The end of one entry, if it is known."""
        event = self.entries.pop(key, None)
        self._seen.pop(key, None)
        return [] if event is None else [replace(event, mac=None, state=GONE)]

    def lose_port(self, ifindex: int) -> list[KernelEvent]:
        """The ends of all entries of a port that is gone or no longer ours."""
        keys = [key for key in self.entries if key[0] == ifindex]
        return [event for key in keys for event in self.lose(key)]

    def sweep(self, generation: int) -> list[KernelEvent]:
        """The ends of all entries not mentioned since `generation` began."""
        keys = [key for key, seen in self._seen.items() if seen < generation]
        return [event for key in keys for event in self.lose(key)]


@dataclass(slots=True)
class Limiter:
    """Who may be asked for now: a token bucket over all, and a pause per neighbour.

    2,000 requests/s is what one control process spends 2 % of a core on; 0.2 s a neighbour is
    below the kernel's own retransmission (1 s), so nothing is lost by refusing the repeat.
    """

    rate: float = 2000.0
    burst: float = 512.0
    pause: float = 0.2
    remembered: int = 8192
    limited: int = 0
    _tokens: float = field(default=512.0)
    _filled: float = 0.0
    _last: "OrderedDict[NeighbourKey, float]" = field(default_factory=OrderedDict)

    def admit(self, key: NeighbourKey, now: float) -> bool:
        """Whether `key` may be asked for at monotonic time `now`; counts refusals."""
        self._tokens = min(self.burst, self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if now - self._last.get(key, -self.pause) < self.pause or self._tokens < 1.0:
            self.limited += 1
            return False
        self._tokens -= 1.0
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > self.remembered:
            self._last.popitem(last=False)
        return True
