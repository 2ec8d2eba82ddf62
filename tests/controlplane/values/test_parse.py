"""Every wrong input is a named error that says what to type instead."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ribcage.controlplane.values.nexthop import BLACKHOLE, MAX_PATHS, Hop, Path, glean, nexthop_set
from ribcage.controlplane.values.parse import parse_nexthops, parse_number, parse_prefix, resolve
from ribcage.controlplane.values.topology import Port, Topology
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import NexthopPlan


@pytest.fixture
def links() -> Topology:
    found = Topology()
    found.put(Port(0, "rc-host", host=True, up=True))
    found.put(Port(1, "eth1", up=True, addresses=(ip_interface("10.0.1.1/24"),)))
    found.put(Port(2, "eth2", up=True, addresses=(ip_interface("10.0.2.1/24"),)))
    return found


NET = ip_network("203.0.113.0/24")


def test_host_bits_are_refused_with_the_corrected_prefix() -> None:
    with pytest.raises(RibcageError) as caught:
        parse_prefix("203.0.113.1/24")
    assert caught.value.code == "E_HOST_BITS"
    assert caught.value.message == '"203.0.113.1/24" has host bits set below /24'
    assert caught.value.hint == "did you mean 203.0.113.0/24?"
    assert caught.value.exit_code == Exit.USAGE


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0/33", "x", "10.0.0/8/9", "::/129", None, 7, "1" * 99]
)
def test_what_is_no_prefix_is_named(text: object) -> None:
    with pytest.raises(RibcageError) as caught:
        parse_prefix(text)
    assert caught.value.code == "E_PREFIX"


@given(st.text(max_size=80))
def test_any_text_is_a_prefix_or_a_named_error(text: str) -> None:
    try:
        parse_prefix(text)
    except RibcageError as error:
        assert error.code in {"E_PREFIX", "E_HOST_BITS"}


def test_default_is_a_prefix() -> None:
    assert parse_prefix("default") == ip_network("0.0.0.0/0")
    assert parse_prefix("default6") == ip_network("::/0")


def test_a_via_finds_its_port(links: Topology) -> None:
    got = resolve(
        links, NET, "forward", [NexthopPlan(via="10.0.2.9"), NexthopPlan(via="10.0.1.9", weight=2)]
    )
    expected = nexthop_set(
        [Path(Hop(1, ip_address("10.0.1.9")), 2), Path(Hop(2, ip_address("10.0.2.9")))]
    )
    assert got == expected


def test_a_dev_alone_is_on_link(links: Topology) -> None:
    assert resolve(links, NET, "forward", [NexthopPlan(dev="eth2")]) == glean(2)


def test_both_ends_of_a_point_to_point_network_are_next_hops() -> None:
    """A /31 has neither network nor broadcast address (RFC 3021)."""
    links = Topology()
    links.put(Port(1, "eth1", up=True, addresses=(ip_interface("10.0.1.0/31"),)))
    got = resolve(links, NET, "forward", [NexthopPlan(via="10.0.1.1")])
    assert got == nexthop_set([Path(Hop(1, ip_address("10.0.1.1")))])


def test_a_type_needs_no_next_hop(links: Topology) -> None:
    assert resolve(links, NET, "blackhole", []) == BLACKHOLE


def test_a_link_local_next_hop_is_taken_with_its_interface(links: Topology) -> None:
    prefix = ip_network("2001:db8::/32")
    got = resolve(links, prefix, "forward", [NexthopPlan(via="fe80::2", dev="eth1")])
    assert got == nexthop_set([Path(Hop(1, ip_address("fe80::2")))])


@pytest.mark.parametrize(
    ("kind", "nexthops", "code", "words"),
    [
        ("forward", [], "E_NEXTHOPS", "needs a next hop"),
        ("teleport", [], "E_TYPE", "blackhole"),
        ("blackhole", [NexthopPlan(via="10.0.1.2")], "E_NEXTHOPS", "takes no next hop"),
        (
            "forward",
            [NexthopPlan(via="10.9.9.9")],
            "E_NEXTHOP",
            "10.0.1.0/24 (eth1), 10.0.2.0/24 (eth2)",
        ),
        ("forward", [NexthopPlan(via="10.0.1.2", dev="eth2")], "E_NEXTHOP", "on eth2"),
        ("forward", [NexthopPlan(via="10.0.1.1")], "E_NEXTHOP", "this router itself"),
        (
            "forward",
            [NexthopPlan(via="10.0.1.255")],
            "E_NEXTHOP",
            "broadcast address of 10.0.1.0/24",
        ),
        ("forward", [NexthopPlan(via="10.0.1.0", dev="eth1")], "E_NEXTHOP", "network address of"),
        ("forward", [NexthopPlan(via="10.0.1.255")], "E_NEXTHOP", "10.0.1.1 to 10.0.1.254"),
        ("forward", [NexthopPlan(via="224.0.0.1")], "E_NEXTHOP", "cannot be a next hop"),
        ("forward", [NexthopPlan(via="fe80::2")], "E_NEXTHOP", "IPv6"),
        ("forward", [NexthopPlan(via="10.0.1")], "E_ADDRESS", "10.0.1"),
        ("forward", [NexthopPlan(dev="eth9")], "E_INTERFACE", "eth1, eth2"),
        ("forward", [NexthopPlan(dev="rc-host")], "E_INTERFACE", "eth1, eth2"),
        ("forward", [NexthopPlan()], "E_NEXTHOPS", "via"),
        ("forward", [NexthopPlan(via="10.0.1.2", weight=0)], "E_WEIGHT", "1 to 255"),
        ("forward", [NexthopPlan(via="10.0.1.2")] * 2, "E_NEXTHOPS", "twice"),
        (
            "forward",
            [NexthopPlan(dev="eth1"), NexthopPlan(via="10.0.1.2")],
            "E_NEXTHOPS",
            "only one",
        ),
        ("forward", [NexthopPlan(via="10.0.1.2")] * (MAX_PATHS + 1), "E_NEXTHOPS", str(MAX_PATHS)),
    ],
)
def test_a_wrong_next_hop_is_a_named_error(
    links: Topology, kind: str, nexthops: list[NexthopPlan], code: str, words: str
) -> None:
    """The error carries its code, exit 2, and the words that help."""
    with pytest.raises(RibcageError) as caught:
        resolve(links, NET, kind, nexthops)
    assert caught.value.code == code
    assert caught.value.exit_code == Exit.USAGE
    assert words in str(caught.value)


def test_a_link_local_next_hop_without_interface_is_refused(links: Topology) -> None:
    with pytest.raises(RibcageError) as caught:
        resolve(links, ip_network("2001:db8::/32"), "forward", [NexthopPlan(via="fe80::2")])
    assert "needs its interface" in caught.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["via", "dev", "weight"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_any_nexthops_value_resolves_or_is_a_named_error(value: object) -> None:
    """No request body reaches an exception of another kind."""
    links = Topology()
    links.put(Port(1, "eth1", up=True, addresses=(ip_interface("10.0.1.1/24"),)))
    try:
        resolve(links, NET, "forward", parse_nexthops(value))
    except RibcageError as error:
        assert error.code.startswith("E_")


@pytest.mark.parametrize("value", [-1, 1 << 33, "7", 1.5, True])
def test_a_number_out_of_range_names_the_range(value: object) -> None:
    with pytest.raises(RibcageError) as caught:
        parse_number({"metric": value}, "metric", 0, 0, 0xFFFFFFFF)
    assert caught.value.code == "E_RANGE"
    assert "0 to 4294967295" in caught.value.message
