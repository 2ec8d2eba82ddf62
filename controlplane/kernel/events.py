"""Events of the kernel as values: links, addresses, neighbours, forwarding switches.

`Kernel` calls its `on_event` with one of these for every change, and once for everything
that exists when it starts. After an overrun of the netlink socket only differences are told, so
a consumer that applies each event keeps a true picture without ever asking for a dump.

Addresses are values of `ipaddress`, MACs 6 bytes; `family` is 4 or 6.
"""

from dataclasses import dataclass
from typing import Final

from ribcage.shared.addresses import Address, Interface

# Neighbour states, in the kernel's words (linux/neighbour.h); "gone" is a deleted entry.
INCOMPLETE: Final = "incomplete"
REACHABLE: Final = "reachable"
STALE: Final = "stale"
DELAY: Final = "delay"
PROBE: Final = "probe"
FAILED: Final = "failed"
PERMANENT: Final = "permanent"
GONE: Final = "gone"


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """An interface appeared, changed or went away.

    `mac` is 6 bytes, or empty for a link without Ethernet addresses. `up` is the operator's
    wish (IFF_UP), `carrier` the link's own state (IFF_LOWER_UP): a port forwards when both hold.
    `gone=True` is the last event of that ifindex; a link that comes back, or is renamed, is
    first told gone under the old name and index, then new under the new ones.
    """

    name: str
    ifindex: int
    mac: bytes
    mtu: int
    up: bool
    carrier: bool
    gone: bool = False


@dataclass(frozen=True, slots=True)
class HostPort:
    """The far end of the host's veth pair, which is the FIB's port of kind host; `kernel_name`
    and `kernel_ifindex` are the kernel's end."""

    name: str
    ifindex: int
    mac: bytes
    mtu: int
    kernel_name: str
    kernel_ifindex: int


@dataclass(frozen=True, slots=True)
class AddressEvent:
    """The host stack got (`added`) or lost an address of its own.

    Every interface of the namespace is told, not the configured ports alone: whatever the
    kernel answers for is a `receive` route. IPv6 link-local addresses are told too.
    """

    ifname: str
    ifindex: int
    own: Interface
    added: bool


@dataclass(frozen=True, slots=True)
class NeighbourEvent:
    """A neighbour on a configured port changed.

    `mac` is valid in reachable, stale, delay, probe and permanent, and None in incomplete,
    failed and gone. It stays valid while the kernel re-probes: use it until told otherwise.
    """

    ifindex: int
    address: Address
    mac: bytes | None
    state: str


@dataclass(frozen=True, slots=True)
class ForwardingEvent:
    """Somebody switched kernel forwarding on; it has been set back unless `restored` is False
    (the write failed, or it was set again more often than we fight for). `ifname` None = all."""

    ifname: str | None
    ifindex: int
    family: int
    restored: bool


KernelEvent = LinkEvent | AddressEvent | NeighbourEvent | ForwardingEvent
