"""Reads addresses and prefixes as people write them, strictly. For config and command line.

Each function takes text and returns an `ipaddress` value, or raises AddressError with a code,
what is wrong and the corrected text. No normalising behind the user's back: "010.0.0.1",
"10.0.0.0/255.0.0.0" and host bits are refused (RFC 6943 3.1.1 tells why), and an address that
cannot be on a link (RFC 1122 3.2.1.3, RFC 4291 2.5-2.7) is named as what it is.
"""

import ipaddress
import re
from collections.abc import Callable

from ribcage.shared.addresses import Address, Interface, Network

_TEXT = re.compile(r"([0-9A-Fa-f:.]{2,45})(?:/([0-9]{1,3}))?")
# What transit never goes to: (network, what it is). The default route is none of them.
_UNROUTED = (
    (ipaddress.ip_network("0.0.0.0/8"), "this-network"),
    (ipaddress.ip_network("127.0.0.0/8"), "loopback"),
    (ipaddress.ip_network("169.254.0.0/16"), "link-local"),
    (ipaddress.ip_network("224.0.0.0/4"), "multicast"),
    (ipaddress.ip_network("240.0.0.0/4"), "reserved"),
    (ipaddress.ip_network("::/127"), "unspecified or loopback"),
    (ipaddress.ip_network("::ffff:0:0/96"), "IPv4-mapped"),
    (ipaddress.ip_network("fe80::/10"), "link-local"),
    (ipaddress.ip_network("ff00::/8"), "multicast"),
)


class AddressError(ValueError):
    """E107 host bits, E110 not an address, E112 an address that cannot be used here."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def read_prefix(text: str) -> Network:
    """A destination "10.9.0.0/24"."""
    address, length = _split(text, "a prefix", "a destination")
    if length is None:
        full = f"{address}/{address.max_prefixlen}"
        raise AddressError("E110", f'"{text}" has no prefix length', f'one host is "{full}"')
    network = _interface(address, length).network
    if network.network_address != address:
        raise AddressError(
            "E107", f'"{text}" has host bits set below /{length}', f'did you mean "{network}"?'
        )
    for unrouted, what in _UNROUTED:
        if network.version == unrouted.version and unrouted.supernet_of(network):  # type: ignore[arg-type]
            raise AddressError("E112", f"{text} is {what}; a router never forwards to it")
    return network


def read_interface(text: str) -> Interface:
    """An address of ours with its network's length: "10.0.1.1/24"."""
    address, length = _split(text, "an address with its prefix length", "an interface")
    if length is None:
        guess = 24 if address.version == 4 else 64
        raise AddressError(
            "E110", f'"{text}" has no prefix length', f'for example "{address}/{guess}"'
        )
    interface = _interface(address, length)
    _usable(address, text, "an interface")
    what = _network_or_broadcast(interface)
    if what is not None:
        first = ipaddress.ip_interface(f"{interface.network.network_address + 1}/{length}")
        raise AddressError("E112", f"{text} is the {what} of its network", f'for example "{first}"')
    return interface


def read_nexthop(text: str) -> Address:
    """The address of a gateway."""
    address, length = _split(text, "an address", "a next hop")
    if length is not None:
        raise AddressError("E110", f'"{text}" is not a next hop', f'one address: "{address}"')
    _usable(address, text, "a next hop")
    return address


def read_host(text: str) -> Address:
    """Any one address, whatever it is good for (to look it up, say)."""
    address, length = _split(text, "an address", "a host")
    if length is not None:
        raise AddressError("E110", f'"{text}" is not one address', f'for example "{address}"')
    return address


def network_or_broadcast(address: Address, network: Network) -> str | None:
    """ "network address" or "broadcast address" when address is that of network, else None."""
    if address.version != network.version or address not in network:
        return None
    return _network_or_broadcast(_interface(address, network.prefixlen))


def _split(text: str, wanted: str, purpose: str) -> tuple[Address, int | None]:
    shown = f'"{text[:60]}"'
    if "%" in text:
        plain = text.split("%")[0]
        raise AddressError("E110", f"{shown} has a zone", f'write "{plain[:60]}" and dev = "..."')
    found = _TEXT.fullmatch(text)
    if found is None:
        raise AddressError("E110", f"{shown} is not {wanted}", _guess(text, purpose))
    try:
        address = ipaddress.ip_address(found[1])
    except ValueError:
        raise AddressError("E110", f"{shown} is not {wanted}", _guess(text, purpose)) from None
    if found[2] is None:
        return address, None
    length = int(found[2])
    if length > address.max_prefixlen or found[2] != str(length):
        raise AddressError(
            "E110", f"{shown} has no such prefix length", f"/0 to /{address.max_prefixlen}"
        )
    return address, length


def _guess(text: str, purpose: str) -> str:
    """What is wrong with a text that nearly is an IPv4 address."""
    head, _, mask = text.partition("/")
    parts = head.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdecimal() for part in parts):
        if any(int(part[:9]) > 255 for part in parts):
            wrong = next(part for part in parts if int(part[:9]) > 255)
            return f"{wrong[:9]} is more than 255"
        if any(part != str(int(part)) for part in parts):
            plain = ".".join(str(int(part)) for part in parts)
            return f'leading zeros may mean octal; write "{plain}"'
        if mask.count(".") == 3:
            length = _mask_length(mask)
            return (
                f'write "{head}/{length}"' if length is not None else "write the mask as a length"
            )
    return 'such as "192.0.2.1" or "2001:db8::1"' + (
        "" if purpose in ("a next hop", "a host") else ', with a length: "192.0.2.0/24"'
        if purpose == "a destination" else ', with a length: "192.0.2.1/24"'
    )  # fmt: skip


def _mask_length(mask: str) -> int | None:
    try:
        return ipaddress.ip_network(f"0.0.0.0/{mask}").prefixlen
    except ValueError:
        return None


def _interface(address: Address, length: int) -> Interface:
    return ipaddress.ip_interface((address, length))


def _network_or_broadcast(interface: Interface) -> str | None:
    network = interface.network
    if network.prefixlen >= network.max_prefixlen - 1:  # /31 (RFC 3021), /127 (RFC 6164), hosts
        return None
    if interface.ip == network.network_address:
        return "network address" if network.version == 4 else "subnet-router anycast address"
    if network.version == 4 and interface.ip == network.broadcast_address:
        return "broadcast address"
    return None


def _usable(address: Address, text: str, purpose: str) -> None:
    checks: tuple[tuple[Callable[[Address], bool], str], ...] = (
        (lambda a: a.is_unspecified, "the unspecified address"),
        (lambda a: a.is_loopback, "a loopback address"),
        (lambda a: a.is_multicast, "a multicast address"),
        (lambda a: a == ipaddress.IPv4Address("255.255.255.255"), "the broadcast address"),
        (lambda a: a.version == 4 and a in ipaddress.ip_network("0.0.0.0/8"), "of no network"),
        (lambda a: a.version == 4 and a in ipaddress.ip_network("240.0.0.0/4"), "reserved"),
        (lambda a: a.version == 6 and a in ipaddress.ip_network("::ffff:0:0/96"), "IPv4-mapped"),
    )
    for is_it, what in checks:
        if is_it(address):
            raise AddressError("E112", f"{text} is {what} and cannot be {purpose}")
