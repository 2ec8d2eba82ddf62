"""Links and neighbours: what cables, other hosts and other administrators do."""

import contextlib
import json

from ribcage.lab.chaos import plan
from ribcage.lab.chaos.kinds.kind import Kind, Scene
from ribcage.lab.topology.namespaces import LabError

LINK_MS = 1500  # after the link is back: a neighbour whose first answer is lost is asked 1 s later
MAC_MS = 2500  # a neighbour entry may not change twice within a second (locktime, arp(7))


def _begin(scene: Scene, port: str) -> None:
    flows, sinks = scene.touched(port)
    scene.begins(port, flows, sinks)


def _give_back(scene: Scene, port: str) -> None:
    """What setting a link down takes from it in the kernel: nobody else knows its IPv6 address.

    The router may have put it back already; then there is nothing to do.
    """
    for address in plan.port_addresses()[port]:
        with contextlib.suppress(LabError):
            scene.rig.r1.ip(f"addr add {address} dev {port}")


def _down(scene: Scene) -> None:
    port = scene.port()
    _begin(scene, port)
    scene.rig.r1.ip(f"link set {port} down")
    scene.hold(0.05, 0.5)
    scene.rig.r1.ip(f"link set {port} up")


def _flap(scene: Scene) -> None:
    port = scene.port()
    _begin(scene, port)
    for _ in range(scene.random.randint(2, 6)):
        scene.rig.r1.ip(f"link set {port} down")
        scene.hold(0.0, 0.05)
        scene.rig.r1.ip(f"link set {port} up")
        scene.hold(0.0, 0.05)


def _carrier(scene: Scene) -> None:
    sink = scene.random.randint(1, plan.SINKS)
    _begin(scene, plan.sink_port(sink))
    host = scene.rig.lab.nodes[f"k{sink}"]
    host.ip("link set eth0 down")
    scene.hold(0.05, 0.5)
    host.ip(
        "link set eth0 up",
        f"addr add 2001:db8:2:{sink}::2/64 dev eth0",
        f"route replace default via 10.2.{sink}.1",
        f"route replace ::/0 via 2001:db8:2:{sink}::1",
    )


def _rename(scene: Scene) -> None:
    """A link can be renamed only while it is down."""
    port = scene.port()
    _begin(scene, port)
    r1 = scene.rig.r1
    r1.ip(f"link set {port} down", f"link set {port} name chaos0", "link set chaos0 up")
    scene.hold(0.05, 0.4)
    r1.ip("link set chaos0 down", f"link set chaos0 name {port}", f"link set {port} up")
    _give_back(scene, port)


def _address_removed(scene: Scene) -> None:
    port = scene.port()
    address = scene.random.choice(plan.port_addresses()[port])
    _begin(scene, port)
    scene.rig.r1.ip(f"addr del {address} dev {port}")
    scene.hold(0.05, 0.4)
    _give_back(scene, port)


def _address_added(scene: Scene) -> None:
    port = scene.port()
    address = f"10.77.{scene.random.randint(0, 255)}.1/24"
    scene.begins(port)
    scene.rig.r1.ip(f"addr add {address} dev {port}")
    scene.hold(0.0, 0.2)
    scene.rig.r1.ip(f"addr del {address} dev {port}")


def _mac_of(scene: Scene, node: str, name: str) -> str:
    out = scene.rig.lab.nodes[node].run(["ip", "-j", "link", "show", name], check=True).stdout
    return str(json.loads(out)[0]["address"])


def _drawn_mac(scene: Scene) -> str:
    return "02:" + ":".join(f"{scene.random.randrange(256):02x}" for _ in range(5))


def _own_mac(scene: Scene) -> None:
    """The port's own; sources are told at once, as a gratuitous ARP would tell them."""
    port = scene.port()
    old, new = _mac_of(scene, "r1", port), _drawn_mac(scene)
    _begin(scene, port)
    for mac in (new, old):
        scene.rig.r1.ip(f"link set {port} address {mac}")
        for source in range(1, plan.SOURCES + 1):
            if plan.source_port(source) == port:
                scene.rig.teach_neighbour(source)
        if mac == new:
            scene.hold(0.1, 0.4)


def _their_mac(scene: Scene) -> None:
    """A next hop's; it announces itself (arp_notify, ndisc_notify), as hosts that move do."""
    sink = scene.random.randint(1, plan.SINKS)
    host = scene.rig.lab.nodes[f"k{sink}"]
    host.sysctl(1, "net/ipv4/conf/eth0/arp_notify", "net/ipv6/conf/eth0/ndisc_notify")
    new = _drawn_mac(scene)
    _begin(scene, plan.sink_port(sink))
    host.ip(f"link set eth0 address {new}")


def _mtu(scene: Scene) -> None:
    port = scene.port()
    scene.begins(port)
    scene.rig.r1.ip(f"link set {port} mtu {scene.random.choice((1300, 1400, 1460))}")
    scene.hold(0.05, 0.3)
    scene.rig.r1.ip(f"link set {port} mtu 1500")


def _flush(scene: Scene) -> None:
    sink = scene.random.randint(1, plan.SINKS)
    _begin(scene, plan.sink_port(sink))
    scene.rig.r1.run(["ip", "neigh", "flush", "dev", plan.sink_port(sink)])


def _failed(scene: Scene) -> None:
    sink, family = scene.random.randint(1, plan.SINKS), scene.random.choice((4, 6))
    port, host = plan.sink_port(sink), plan.via(sink, family)
    _begin(scene, port)
    with contextlib.suppress(LabError):  # no entry yet: nothing to fail
        scene.rig.r1.ip(f"neigh change {host} dev {port} nud failed")


BACK = "its routes are given up, and used again when it is back"
KINDS = [
    Kind("link-down", "a port is set down and up", BACK, _down, LINK_MS),
    Kind("link-flap", "a port is set down and up several times", BACK, _flap, LINK_MS),
    Kind("link-carrier", "the other end of a link goes down and up", BACK, _carrier, LINK_MS),
    Kind("link-rename", "a port is renamed, and back", BACK, _rename, LINK_MS),
    Kind("link-mac", "a port gets another MAC address, and its own back", "frames to the new one are taken", _own_mac, LINK_MS),
    Kind("link-mtu", "a port's MTU changes, and back", "small packets do not notice", _mtu),
    Kind("address-del", "an address of a port is removed, and added", BACK, _address_removed, LINK_MS),
    Kind("address-add", "a port gets one more address, and loses it", "nobody notices", _address_added),
    Kind("neighbour-mac", "a next hop changes its MAC address and says so", "its announcement is believed", _their_mac, MAC_MS),
    Kind("neighbour-flush", "the kernel's neighbour entries of a port are flushed", "asked again; packets wait as far as the hold queue has room", _flush, LINK_MS),
    Kind("neighbour-failed", "a neighbour entry is set to failed", "packets wait; it is asked again", _failed, LINK_MS),
]  # fmt: skip
