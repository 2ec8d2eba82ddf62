"""A table of the links and own addresses the kernel told of; differences become events.

    table = LinkTable()
    events = table.apply(message, generation)     # one message of the monitor
    events = table.sweep_links(generation)        # after a full dump: what it did not mention

Pure: no sockets, no clock. `generation` is the monitor's dump number; every message, event or
part of a dump, marks its entry with it, so that after an overrun the entries that a complete dump
did not mention are those that went away unseen.
"""

from dataclasses import replace

from ribcage.controlplane.kernel.events import AddressEvent, KernelEvent, LinkEvent
from ribcage.controlplane.kernel.netlink.messages import (
    IFF_LOWER_UP,
    IFF_UP,
    AddressMessage,
    LinkMessage,
)
from ribcage.shared.addresses import Interface

AddressKey = tuple[int, Interface]  # by ifindex


class LinkTable:
    """What exists now: `links` by ifindex, `addresses` by their key."""

    def __init__(self) -> None:
        self.links: dict[int, LinkEvent] = {}
        self.addresses: dict[AddressKey, AddressEvent] = {}
        self._names: dict[str, int] = {}
        self._link_seen: dict[int, int] = {}
        self._address_seen: dict[AddressKey, int] = {}

    def by_name(self, name: str) -> LinkEvent | None:
        """The link of that name that exists now. A namespace holds at most one."""
        return self.links.get(self._names.get(name, 0))

    def apply_link(self, message: LinkMessage, generation: int) -> list[KernelEvent]:
        """The events of one link message; none when nothing that we tell has changed."""
        old = self.links.get(message.ifindex)
        if message.gone:
            return self._remove(old)
        new = LinkEvent(
            name=message.name,
            ifindex=message.ifindex,
            mac=message.mac,
            mtu=message.mtu,
            up=bool(message.flags & IFF_UP),
            carrier=bool(message.flags & IFF_LOWER_UP),
        )
        events: list[KernelEvent] = []
        if old is not None and old.name != new.name:
            events += self._remove(old)
        same = self.by_name(new.name)
        if same is not None and same.ifindex != new.ifindex:
            events += self._remove(same)  # its end was lost in an overrun, or comes later
        self.links[new.ifindex] = new
        self._names[new.name] = new.ifindex
        self._link_seen[new.ifindex] = generation
        return events if new == old else [*events, new]

    def apply_address(self, message: AddressMessage, generation: int) -> list[KernelEvent]:
        """The events of one address message. An address that failed duplicate address
        detection is not ours to answer for, so it counts as lost."""
        key = (message.ifindex, message.own)
        old = self.addresses.get(key)
        if message.gone or message.failed:
            return self._lose(key)
        link = self.links.get(message.ifindex)
        if link is None:
            return []  # heard before the first dump of links; the dump of addresses comes after it
        self._address_seen[key] = generation
        if old is not None:
            return []
        event = AddressEvent(link.name, message.ifindex, message.own, added=True)
        self.addresses[key] = event
        return [event]

    def sweep_links(self, generation: int) -> list[KernelEvent]:
        """The ends of all links not mentioned since `generation` began."""
        gone = [link for index, link in self.links.items() if self._link_seen[index] < generation]
        return [event for link in gone for event in self._remove(link)]

    def sweep_addresses(self, generation: int) -> list[KernelEvent]:
        """The ends of all addresses not mentioned since `generation` began."""
        gone = [key for key, seen in self._address_seen.items() if seen < generation]
        return [event for key in gone for event in self._lose(key)]

    def _remove(self, link: LinkEvent | None) -> list[KernelEvent]:
        if link is None:
            return []
        events: list[KernelEvent] = []
        for key in [key for key in self.addresses if key[0] == link.ifindex]:
            events += self._lose(key)
        del self.links[link.ifindex]
        del self._names[link.name]
        del self._link_seen[link.ifindex]
        return [*events, replace(link, up=False, carrier=False, gone=True)]

    def _lose(self, key: AddressKey) -> list[KernelEvent]:
        event = self.addresses.pop(key, None)
        self._address_seen.pop(key, None)
        return [] if event is None else [replace(event, added=False)]
