"""Whether an interface of a node is ready: it has a carrier, and IPv6 its address of the link.

Both come a moment after `ip link set up`, when the other end is up, too. What looks at a node in
between (`ip address`, to compare with it later) sees something that is about to change.

Use: `node.call(wait_until_ready, "eth0")`; inside the node only, /proc/net is the caller's own.
"""

import fcntl
import socket
import struct
import time
from pathlib import Path

from ribcage.lab.topology.inside import LabError

SIOCGIFFLAGS = 0x8913
IFF_UP, IFF_RUNNING = 0x1, 0x40  # netdevice(7); running: with a carrier
PATIENCE = 20.0  # seconds; it takes about one millisecond


def wait_until_ready(name: str) -> None:
    """Returns when `name` is; LabError says what it is instead."""
    end = time.monotonic() + PATIENCE
    while lack := missing(name):
        if time.monotonic() > end:
            raise LabError(f"{name}: {lack} after {PATIENCE:.0f} s")
        time.sleep(0.001)  # between two looks


def missing(name: str) -> str:
    """What the interface lacks, in words; empty: nothing."""
    request = struct.pack("16sH14x", name.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        flags = struct.unpack("16xH14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[0]
    if flags & (IFF_UP | IFF_RUNNING) != IFF_UP | IFF_RUNNING:
        return "no carrier"
    if uses_ipv6(name) and not has_link_local(name):
        return "no link-local address"
    return ""


def uses_ipv6(name: str) -> bool:
    """Not where it is switched off, or below an MTU of 1280, where the kernel refuses it."""
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip() == "0"
    except FileNotFoundError:
        return False


def has_link_local(name: str) -> bool:
    rows = [row.split() for row in Path("/proc/self/net/if_inet6").read_text().splitlines()]
    return any(row[5] == name and row[3] == "20" for row in rows)  # scope 0x20: the link
