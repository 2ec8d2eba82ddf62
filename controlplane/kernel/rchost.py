"""The veth pair through which the host stack reaches what the router routes.

       kernel --last-resort default route--> rc-host ====veth==== rc-port --packet ring--> workers

A packet that the kernel itself originates (a ping reply, a BGP session, an ICMP error for a local
socket) and for which it has no better route leaves through `rc-host`. Its other end is a FIB
port of kind host: the workers forward from there without taking a hop off. So the RIB's
routes need not be exported into the kernel's table.

Both ends carry the same MAC, so that frames arrive at rc-port as ours; no ARP, no IPv6
autoconfiguration. The default routes have the greatest free metric and a made-up gateway
(169.254.254.254, fe80::1): with one, the kernel keeps a single neighbour entry for the device
instead of one for each destination it talks to. Protocol number 82 marks them, so that the
import of the kernel's table leaves them out.

Used by the provisioner; KernelSilent goes through. The pair is journalled by name and MAC before it
is made.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pyroute2.netlink.exceptions import NetlinkError

from ribcage.controlplane.kernel.changes.journal import Journal, link_mac
from ribcage.controlplane.kernel.events import HostPort
from ribcage.controlplane.kernel.netlink.deadline import Netlink, words
from ribcage.shared.addresses import SOCKET_FAMILY, Address, mac_text

IFF_NOARP: Final = 0x80
PROTOCOL: Final = 82  # 'R'; unassigned in iproute2's rt_protos
GREATEST_METRIC: Final = 0xFFFFFFFF
METRICS_TRIED: Final = 64  # instances that may share a namespace
RTNH_F_ONLINK: Final = 4
GATEWAY: Final = {4: "169.254.254.254", 6: "fe80::1"}


def alias(instance: str) -> str:
    """What `ip link` shows beside both ends, and how a pair without a journal is known."""
    return f"ribcage {instance}"


def candidates(instance: str) -> list[tuple[str, str]]:
    """Names to try: the plain ones, then some that only this instance would choose."""
    digest = 0
    for byte in instance.encode():  # FNV-1a: any fixed hash of the name will do
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFF
    marked = [(f"rc-host-{n:06x}", f"rc-port-{n:06x}") for n in (digest, digest ^ 1)]
    return [("rc-host", "rc-port"), *marked]


class HostPair:
    """Makes and keeps the pair and its routes. `port` is None until `ensure` succeeded."""

    def __init__(self, instance: str, journal: Journal, log: Callable[..., None]) -> None:
        self.port: HostPort | None = None
        self._instance = instance
        self._journal = journal
        self._log = log
        self._sources: dict[int, Address | None] = {}

    async def ensure(self, netlink: Netlink, mtu: int) -> list[str]:
        """Adopt the pair of a predecessor or make one. Returns problems."""
        try:
            for kernel_name, port_name in candidates(self._instance):
                kernel, port = await _find(netlink, kernel_name), await _find(netlink, port_name)
                known = self._journal.links.get(kernel_name)
                if kernel is not None and port is not None and known == link_mac(kernel):
                    await self._set_up(netlink, kernel, port)  # it may have died half-way
                    break
                if kernel is not None and kernel.get("ifalias") == alias(self._instance):
                    await netlink.link("del", index=kernel["index"])  # its journal is lost
                    kernel = port = None
                if kernel is None and port is None:
                    await self._make(netlink, kernel_name, port_name, mtu)
                    break
            else:
                names = ", ".join(name for name, _ in candidates(self._instance))
                return [f"host port: {names} all exist and are not ours"]
        except NetlinkError as error:
            return [f"host port: {words(error)}"]
        return await self.set_mtu(netlink, mtu)

    async def set_mtu(self, netlink: Netlink, mtu: int) -> list[str]:
        """Both ends as large as the largest port."""
        port = self.port
        if port is None or port.mtu == mtu:
            return []
        try:
            for index in (port.ifindex, port.kernel_ifindex):
                await netlink.link("set", index=index, mtu=mtu)
        except NetlinkError as error:
            return [f"host port: mtu {mtu}: {words(error)}"]
        self.port = HostPort(
            port.name, port.ifindex, port.mac, mtu, port.kernel_name, port.kernel_ifindex
        )
        return []

    async def set_sources(self, netlink: Netlink, sources: dict[int, Address | None]) -> list[str]:
        """The default routes, with these source addresses (family -> own address or None).

        Also to be called after a source address was lost: the kernel removes IPv4 routes with
        it. Cheap when nothing changes for the caller: two netlink requests.
        """
        if self.port is None:
            return []
        problems = []
        for family in (4, 6):
            source = sources.get(family)
            try:
                await self._route(netlink, family, source)
            except NetlinkError as error:
                problems.append(f"host port: IPv{family} default: {words(error)}")
        return problems

    async def _route(self, netlink: Netlink, family: int, source: Address | None) -> None:
        assert self.port is not None
        known = self._journal.metrics.get(family)
        tried = [known] if known is not None else []
        tried += [GREATEST_METRIC - n for n in range(METRICS_TRIED)]
        for metric in tried:
            fields: dict[str, Any] = {
                "family": SOCKET_FAMILY[family],
                "dst": "default",
                "gateway": GATEWAY[family],
                "flags": RTNH_F_ONLINK,
                "oif": self.port.kernel_ifindex,
                "priority": metric,
                "proto": PROTOCOL,
            }
            if source is not None:
                fields["prefsrc"] = str(source)
            try:
                await netlink.route("replace" if metric == known else "add", **fields)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                continue  # another instance in this namespace was here before
            if metric != known:
                self._journal.metrics[family] = metric
                self._journal.write()
            return
        raise NetlinkError(errno.EEXIST)

    async def _make(self, netlink: Netlink, kernel: str, port: str, mtu: int) -> None:
        mac = bytes([0x02, *os.urandom(5)])  # locally administered
        self._journal.links[kernel] = mac  # the far end goes with it
        self._journal.metrics.clear()
        self._journal.write()
        both = {"address": mac_text(mac), "mtu": mtu}
        peer = {"ifname": port, **both}
        await netlink.link("add", ifname=kernel, kind="veth", peer=peer, **both)
        ends = [await _find(netlink, kernel), await _find(netlink, port)]
        if ends[0] is None or ends[1] is None:
            raise NetlinkError(errno.ENODEV)
        await self._set_up(netlink, ends[0], ends[1])
        self._log("info", "kernel.host-port", kernel=kernel, port=port, mac=mac_text(mac))

    async def _set_up(self, netlink: Netlink, kernel: Any, port: Any) -> None:
        """Everything but the routes, on a pair that exists; again is harmless."""
        names = kernel.get("ifname"), port.get("ifname")
        # A device's own settings go with it, so none of these is journalled.
        for name, value in (
            (f"net/ipv6/conf/{names[0]}/addr_gen_mode", "1"),  # none
            (f"net/ipv6/conf/{names[0]}/accept_ra", "0"),
            (f"net/ipv6/conf/{names[0]}/disable_ipv6", "0"),
            (f"net/ipv6/conf/{names[1]}/addr_gen_mode", "1"),
            (f"net/ipv6/conf/{names[1]}/disable_ipv6", "1"),
            (f"net/ipv4/conf/{names[0]}/rp_filter", "0"),
            # An ICMP error made by a worker about a packet of ours comes from our own address.
            (f"net/ipv4/conf/{names[0]}/accept_local", "1"),
        ):
            try:
                (Path("/proc/sys") / name).write_text(value)
            except OSError as error:
                self._log("info", "kernel.setting-absent", name=name, why=error.strerror)
        for end in (kernel, port):
            await netlink.link(
                "set",
                index=end["index"],
                ifalias=alias(self._instance),
                flags=IFF_NOARP | 1,  # and IFF_UP
                change=IFF_NOARP | 1,
            )
        self.port = HostPort(
            name=names[1],
            ifindex=port["index"],
            mac=link_mac(kernel),
            mtu=min(kernel.get("mtu"), port.get("mtu")),
            kernel_name=names[0],
            kernel_ifindex=kernel["index"],
        )


async def _find(netlink: Netlink, name: str) -> Any:
    """The link message of that name, or None."""
    try:
        for message in await netlink.link("get", ifname=name):
            return message
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
    return None
