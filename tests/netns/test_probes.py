"""The lab's probes, proven against the kernel's own forwarding before they measure the router."""

import json
from collections.abc import Iterator

import pytest

from ribcage.lab.probe.traffic import Stream, probe, transfer
from ribcage.lab.topology.namespaces import Lab, Node, available
from ribcage.lab.topology.router import wait_for
from ribcage.lab.topology.topologies import kernel_path

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """h1 -- r1 -- h2 -- n2 with the kernel of r1 forwarding."""
    with Lab() as built:
        yield kernel_path(built)


@pytest.mark.parametrize("target", ["10.0.3.2", "2001:db8:3::2"])
def test_echo_reports_every_reply_with_its_hop_limit(lab: Lab, target: str) -> None:
    """Two routers on the way: 64 - 2."""
    seen = probe(lab.nodes["h1"], "echo", target, "--count", "3")
    assert (seen["sent"], seen["received"], seen["lost"]) == (3, 3, [])
    assert seen["hops"] == [62, 62, 62]


def test_echo_to_nobody_reports_every_loss(lab: Lab) -> None:
    """An address that does not exist: all sequence numbers are listed as lost."""
    seen = probe(lab.nodes["h1"], "echo", "10.0.3.77", "--count", "2", "--timeout", "0.2")
    assert (seen["received"], seen["lost"]) == (0, [1, 2])


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("10.0.3.2", ["10.0.1.1", "10.0.2.2", "10.0.3.2"]),
        ("2001:db8:3::2", ["2001:db8:1::1", "2001:db8:2::2", "2001:db8:3::2"]),
    ],
)
def test_trace_lists_every_router_in_order(lab: Lab, target: str, path: list[str]) -> None:
    """r1, h2, then the target itself."""
    seen = probe(lab.nodes["h1"], "trace", target)
    assert [hop["address"] for hop in seen["hops"]] == path
    assert seen["reached"]


def test_a_stream_of_many_flows_tells_each_of_them(lab: Lab) -> None:
    """Source ports take turns; sums and single flows agree, in both families."""
    for target in ("10.0.2.2", "2001:db8:2::2"):
        h1, h2 = lab.nodes["h1"], lab.nodes["h2"]
        with Stream(h1, h2, target, rate=1000, flows=4) as stream:
            wait_for_packets(h1, "tx", 200)
        result = stream.result
        assert sorted(result.flows) == [20_000, 20_001, 20_002, 20_003]
        assert sum(flow.sent for flow in result.flows.values()) == result.sent
        assert sum(flow.received for flow in result.flows.values()) == result.received
        assert all(flow.lost == 0 and flow.sent > 20 for flow in result.flows.values())


def test_stream_counts_what_a_cut_link_loses(lab: Lab) -> None:
    """The stream sees loss when there is loss: a link that goes down in the middle."""
    h1, h2 = lab.nodes["h1"], lab.nodes["h2"]
    with Stream(h1, h2, "10.0.2.2", rate=1000, linger=0.5) as stream:
        wait_for_packets(h1, "tx", 250)
        lab.nodes["r1"].ip("link set eth2 down")
        wait_for_packets(h1, "tx", 150)
        lab.nodes["r1"].ip("link set eth2 up")
        wait_for_packets(h2, "rx", 100)
    assert stream.result.lost > 50
    assert stream.result.received > 200


def wait_for_packets(node: Node, way: str, more: int) -> None:
    """Until eth0's counter of packets has grown by `more`."""

    def packets() -> int:
        text = node.run(["ip", "-j", "-s", "link", "show", "eth0"], check=True).stdout
        return int(json.loads(text)[0]["stats64"][way]["packets"])

    first = packets()
    wait_for(f"{more} packets {way} at {node.name}", lambda: packets() >= first + more, 30)


def test_transfer_proves_both_directions_by_digest(lab: Lab) -> None:
    """What one end sent is what the other received, and the two directions differ."""
    seen = transfer(lab.nodes["h1"], lab.nodes["h2"], "10.0.2.2", "--mib", "4")
    assert seen["client"]["sent_sha256"] == seen["server"]["received_sha256"]
    assert seen["server"]["sent_sha256"] == seen["client"]["received_sha256"]
    assert seen["client"]["sent_sha256"] != seen["server"]["sent_sha256"]
