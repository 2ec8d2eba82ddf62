"""packet_parse(): what source, target and link-layer address decide about a sound packet."""

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS
from scapy.layers.l2 import ARP

from tests.csrc.packet.packet_lib import ether, parse, v4, v6

HOST, BROADCAST, MULTICAST, OTHER = 0, 1, 2, 3

ADDRESSES = [
    # source, target, outcome on a port, outcome on the host port
    ("10.0.0.1", "198.51.100.7", "FORWARD", "FORWARD"),
    ("0.0.0.0", "198.51.100.7", "DROP:BAD_SOURCE", "FORWARD"),
    ("0.1.2.3", "198.51.100.7", "DROP:BAD_SOURCE", "FORWARD"),
    ("127.0.0.1", "198.51.100.7", "DROP:BAD_SOURCE", "FORWARD"),
    ("224.0.0.1", "198.51.100.7", "DROP:BAD_SOURCE", "FORWARD"),
    ("239.255.255.255", "198.51.100.7", "DROP:BAD_SOURCE", "FORWARD"),
    ("240.0.0.1", "198.51.100.7", "DROP:BAD_SOURCE", "FORWARD"),
    ("255.255.255.255", "198.51.100.7", "DROP:BAD_SOURCE", "FORWARD"),
    ("10.0.0.1", "0.0.0.0", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("10.0.0.1", "0.9.9.9", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("10.0.0.1", "127.0.0.1", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("10.0.0.1", "240.0.0.1", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("10.0.0.1", "255.255.255.254", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("10.0.0.1", "255.255.255.255", "DELIVER", "DELIVER"),
    ("0.0.0.0", "255.255.255.255", "DELIVER", "DELIVER"),
    ("127.0.0.1", "255.255.255.255", "DROP:BAD_SOURCE", "DELIVER"),
    ("10.0.0.1", "224.0.0.5", "DELIVER", "DELIVER"),
    ("0.0.0.0", "224.0.0.22", "DELIVER", "DELIVER"),
    ("10.0.0.1", "224.0.1.1", "DROP:MULTICAST", "DROP:MULTICAST"),
    ("10.0.0.1", "239.1.1.1", "DROP:MULTICAST", "DROP:MULTICAST"),
    ("10.0.0.1", "169.254.1.1", "DELIVER", "DROP:LINK_LOCAL"),
    ("169.254.9.9", "169.254.1.1", "DELIVER", "DELIVER"),
    ("169.254.9.9", "198.51.100.7", "LOCAL:LINK_LOCAL", "LOCAL:LINK_LOCAL"),
    ("126.255.255.255", "223.255.255.255", "FORWARD", "FORWARD"),
    ("128.0.0.1", "1.0.0.0", "FORWARD", "FORWARD"),
    ("169.253.0.1", "169.255.0.1", "FORWARD", "FORWARD"),
    ("2001:db8::1", "2001:db8:1::9", "FORWARD", "FORWARD"),
    ("::", "2001:db8:1::9", "DROP:BAD_SOURCE", "FORWARD"),
    ("::1", "2001:db8:1::9", "DROP:BAD_SOURCE", "FORWARD"),
    ("ff02::1", "2001:db8:1::9", "DROP:BAD_SOURCE", "FORWARD"),
    ("ff0e::1", "2001:db8:1::9", "DROP:BAD_SOURCE", "FORWARD"),
    ("::ffff:10.0.0.1", "2001:db8:1::9", "DROP:BAD_SOURCE", "FORWARD"),
    ("2001:db8::1", "::", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("2001:db8::1", "::1", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("2001:db8::1", "::ffff:10.0.0.1", "DROP:BAD_DESTINATION", "DROP:BAD_DESTINATION"),
    ("2001:db8::1", "::2", "FORWARD", "FORWARD"),
    ("2001:db8::1", "ff02::5", "DELIVER", "DELIVER"),
    ("2001:db8::1", "ff12::5", "DELIVER", "DELIVER"),
    ("::", "ff02::1:ff00:1", "DELIVER", "DELIVER"),
    ("2001:db8::1", "ff01::1", "DROP:MULTICAST", "DROP:MULTICAST"),
    ("2001:db8::1", "ff05::2", "DROP:MULTICAST", "DROP:MULTICAST"),
    ("2001:db8::1", "ff0e::1", "DROP:MULTICAST", "DROP:MULTICAST"),
    ("fe80::1", "fe80::2", "DELIVER", "DELIVER"),
    ("2001:db8::1", "fe80::2", "DELIVER", "DROP:LINK_LOCAL"),
    ("2001:db8::1", "febf::2", "DELIVER", "DROP:LINK_LOCAL"),
    ("2001:db8::1", "fec0::2", "FORWARD", "FORWARD"),
    ("fe80::1", "2001:db8:1::9", "LOCAL:LINK_LOCAL", "LOCAL:LINK_LOCAL"),
]


@pytest.mark.parametrize(("source", "target", "on_port", "on_host_port"), ADDRESSES)
def test_addresses_decide_by_table(
    source: str, target: str, on_port: str, on_host_port: str
) -> None:
    """Martians are dropped, link scope is left to the host; a host port trusts its sources."""
    build = v6 if ":" in target else v4
    frame = build(src=source, dst=target)
    assert parse(frame).outcome == on_port
    assert parse(frame, host_port=True).outcome == on_host_port


STATIONS = [
    (v4(), BROADCAST, "LOCAL:BROADCAST"),
    (v4(), MULTICAST, "LOCAL:BROADCAST"),
    (v6(), MULTICAST, "LOCAL:BROADCAST"),
    (v4(), OTHER, "DROP:NOT_FOR_US"),
    (v6(dst="ff02::1"), MULTICAST, "DELIVER"),
    (v4(dst="224.0.0.1"), MULTICAST, "DELIVER"),
    (v4(dst="255.255.255.255"), BROADCAST, "DELIVER"),
    (v4(dst="239.1.1.1"), MULTICAST, "DROP:MULTICAST"),
    (v4(chksum=1), OTHER, "DROP:NOT_FOR_US"),
    (v4(), 9, "DROP:NOT_FOR_US"),
    (ether(ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.2")), BROADCAST, "DELIVER"),
    (ether(ARP(op=2, psrc="10.0.0.1", pdst="10.0.0.2")), HOST, "DELIVER"),
    (v6(ICMPv6ND_NS(tgt="2001:db8::9"), dst="ff02::1:ff00:9"), MULTICAST, "DELIVER"),
]


@pytest.mark.parametrize(("frame", "station", "outcome"), STATIONS)
def test_link_layer_address_decides_too(frame: bytes, station: int, outcome: str) -> None:
    """Unicast in a broadcast frame is never forwarded (RFC 1812 5.3.4), nor a stranger's."""
    assert parse(frame, station=station).outcome == outcome


def test_host_port_takes_any_station() -> None:
    """The host stack's frames to rc-host need not carry the far end's MAC."""
    assert parse(v4(), station=OTHER, host_port=True).outcome == "FORWARD"
