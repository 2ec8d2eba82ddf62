"""Asks the kernel to resolve neighbours: hosts once, gateways for as long as routes need them.

Used by Kernel. A host is asked for when a worker holds a packet for it; a gateway of the RIB
is "managed": the kernel promises to keep it resolved (NTF_EXT_MANAGED), and we ask again when its
port lost the carrier or came back under another ifindex, which ends the promise. Managed
neighbours are journalled by interface name, so that undo can let them go.

Requests are fire and forget on the monitor's socket; answers are neighbour messages.
"""

import asyncio
import time
from collections.abc import Callable

from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.events import LinkEvent
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.neighbours import Limiter, NeighbourTable
from ribcage.controlplane.kernel.netlink.messages import resolve_request
from ribcage.shared.addresses import Address

Entry = tuple[str, Address]  # by interface name


def unicast(address: Address) -> bool:
    """Whether somebody can be asked for this address."""
    if address.is_unspecified or address.is_multicast:
        return False
    return address.version == 6 or address.packed[0] < 0xE0


class NeighbourResolver:
    """See the module. `managed` holds the gateways wanted now; `send` is the monitor's."""

    def __init__(
        self,
        journal: Journal,
        links: LinkTable,
        neighbours: NeighbourTable,
        send: Callable[[bytes], bool],
        log: Callable[..., None],
    ) -> None:
        self.managed: set[Entry] = set()
        self._journal = journal
        self._links = links
        self._neighbours = neighbours
        self._send = send
        self._log = log
        self._limiter = Limiter()
        self._unsent: set[Entry] = set()  # managed, to be journalled and asked for
        self._sent = 0
        self._refused = 0
        self._closed = False

    def close(self) -> None:
        """No request is sent any more, by timers that still run neither."""
        self._closed = True

    def counters(self) -> dict[str, int]:
        """What was asked for, and what not: over the rate, or never a neighbour."""
        return {
            "resolve_sent": self._sent,
            "resolve_refused": self._refused,
            "resolve_limited": self._limiter.limited,
            "managed": len(self.managed),
        }

    def resolve(self, link: LinkEvent, address: Address) -> bool:
        """Kernel.resolve on a configured port."""
        if self._closed or not unicast(address):
            self._refused += 1
            return False
        key = (link.ifindex, address)
        managed = (link.name, address) in self.managed
        full = len(self._neighbours.entries) >= self._neighbours.limit
        if full and not managed and key not in self._neighbours.entries:
            self._neighbours.refused += 1
            return False
        if not self._limiter.admit(key, time.monotonic()):
            return False
        self._sent += 1
        # Without the flag the kernel would take the promise back.
        return self._send(resolve_request(link.ifindex, address, managed))

    def manage(self, link: LinkEvent, address: Address) -> bool:
        """Kernel.manage."""
        if not unicast(address):
            return False
        entry = (link.name, address)
        if entry not in self.managed:
            self.managed.add(entry)
            self._want(entry)
        return True

    def unmanage(self, link: LinkEvent, address: Address) -> None:
        """Kernel.unmanage."""
        entry = (link.name, address)
        if entry in self.managed:
            self.managed.discard(entry)
            self._unsent.discard(entry)
            self._let_go({entry})

    def sweep(self) -> None:
        """Kernel.sweep_managed."""
        self._let_go(self._journal.managed - self.managed)

    def again(self, name: str) -> None:
        """Ask for all managed neighbours of a port; harmless for those that are there."""
        link = self._links.by_name(name)
        if link is not None and link.carrier:
            for entry in self.managed:
                if entry[0] == name:
                    self._want(entry)

    def _want(self, entry: Entry) -> None:
        """Journal and ask at the end of this turn of the loop: one write for a thousand."""
        if self._closed:
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.add(entry)

    def _flush(self) -> None:
        if self._unsent - self._journal.managed:
            self._journal.managed |= self._unsent
            self._save()
        for name, address in sorted(self._unsent, key=str):
            link = self._links.by_name(name)
            if link is not None and not self._closed:
                self._send(resolve_request(link.ifindex, address, managed=True))
        self._unsent.clear()

    def _let_go(self, entries: set[Entry]) -> None:
        for name, address in entries:
            link = self._links.by_name(name)
            if link is not None and not self._closed:
                self._send(resolve_request(link.ifindex, address, managed=False))
        if entries & self._journal.managed:
            self._journal.managed -= entries
            self._save()

    def _save(self) -> None:
        """A full disk costs the undo of neighbours, not their service."""
        try:
            self._journal.write()
        except OSError as error:
            self._log("warning", "kernel.journal", why=error.strerror)
