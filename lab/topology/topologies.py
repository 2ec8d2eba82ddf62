"""The networks that the demo, the tests and the tutorials use; each function builds one in a Lab.

       h1 ------------ r1 ------------ h2 ------------ n2
          eth0    eth1    eth2    eth0    eth1    eth0
          10.0.1.0/24     10.0.2.0/24     10.0.3.0/24
          2001:db8:1::/64 2001:db8:2::/64 2001:db8:3::/64

Hosts are .2 (h2 is .1 on n2's network), r1 is .1; IPv6 likewise. h2 forwards with the kernel,
because n2 is the network behind a next hop. r1 gets links and nothing else unless asked: its
addresses are the router's configuration to bring.
"""

from ribcage.lab.topology.namespaces import Lab

R1_ADDRESSES = {
    "eth1": ("10.0.1.1/24", "2001:db8:1::1/64"),
    "eth2": ("10.0.2.1/24", "2001:db8:2::1/64"),
}

# The same as a router's configuration brings them.
R1_INTERFACES = """
[[interface]]
name = "eth1"
address = ["10.0.1.1/24", "2001:db8:1::1/64"]

[[interface]]
name = "eth2"
address = ["10.0.2.1/24", "2001:db8:2::1/64"]
"""
# And what is behind h2.
R1_ROUTES = """
[[route]]
dst = "10.0.3.0/24"
via = "10.0.2.2"

[[route]]
dst = "2001:db8:3::/64"
via = "2001:db8:2::2"
"""


def _addresses(interface: str, *addresses: str) -> list[str]:
    return [f"addr add {address} dev {interface}" for address in addresses]


def demo(lab: Lab, *, addresses: bool = False) -> Lab:
    """h1 -- r1 -- h2 -- n2, hosts configured and routed; r1's addresses only with `addresses`."""
    for name in ("h1", "r1", "h2", "n2"):
        lab.node(name)
    lab.link("h1", "eth0", "r1", "eth1")
    lab.link("r1", "eth2", "h2", "eth0")
    lab.link("h2", "eth1", "n2", "eth0")
    lab.nodes["h1"].ip(
        *_addresses("eth0", "10.0.1.2/24", "2001:db8:1::2/64"),
        "route add default via 10.0.1.1",
        "route add ::/0 via 2001:db8:1::1",
    )
    lab.nodes["h2"].sysctl(1, "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
    lab.nodes["h2"].ip(
        *_addresses("eth0", "10.0.2.2/24", "2001:db8:2::2/64"),
        *_addresses("eth1", "10.0.3.1/24", "2001:db8:3::1/64"),
        "route add default via 10.0.2.1",
        "route add ::/0 via 2001:db8:2::1",
    )
    lab.nodes["n2"].ip(
        *_addresses("eth0", "10.0.3.2/24", "2001:db8:3::2/64"),
        "route add default via 10.0.3.1",
        "route add ::/0 via 2001:db8:3::1",
    )
    if addresses:
        for interface, own in R1_ADDRESSES.items():
            lab.nodes["r1"].ip(*_addresses(interface, *own))
    return lab


def kernel_path(lab: Lab) -> Lab:
    """The same network with the kernel of r1 forwarding: what the router is measured against."""
    demo(lab, addresses=True)
    lab.nodes["r1"].sysctl(1, "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
    lab.nodes["r1"].ip(
        "route add 10.0.3.0/24 via 10.0.2.2", "route add 2001:db8:3::/64 via 2001:db8:2::2"
    )
    return lab
