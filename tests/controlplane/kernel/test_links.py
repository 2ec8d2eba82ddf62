"""Links and addresses: every event is a difference, and a dump finds what was missed."""

from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st

from ribcage.controlplane.kernel.events import AddressEvent, KernelEvent, LinkEvent
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.netlink.messages import AddressMessage, LinkMessage
from ribcage.shared.addresses import Interface

MAC = b"\2\0\0\0\0\1"
UP = 0x10001


def link(index: int, name: str, flags: int = UP, gone: bool = False) -> LinkMessage:
    return LinkMessage(index, name, MAC, 1500, flags, gone)


def address(index: int, text: str, gone: bool = False, failed: bool = False) -> AddressMessage:
    return AddressMessage(index, ip_interface(f"{text}/24"), failed, gone)


def test_the_same_message_twice_is_one_event() -> None:
    """A dump that repeats what is known tells nothing."""
    table = LinkTable()
    expected: list[KernelEvent] = [LinkEvent("eth1", 2, MAC, 1500, True, True)]
    assert table.apply_link(link(2, "eth1"), 1) == expected
    assert table.apply_link(link(2, "eth1"), 2) == []


def test_a_link_made_anew_is_gone_first_even_when_its_end_was_lost() -> None:
    """The same name under a new ifindex: gone under the old one, then new."""
    table = LinkTable()
    table.apply_link(link(2, "eth1"), 1)
    table.apply_address(address(2, "10.0.0.1"), 1)
    assert table.apply_link(link(9, "eth1"), 1) == [
        AddressEvent("eth1", 2, ip_interface("10.0.0.1/24"), False),
        LinkEvent("eth1", 2, MAC, 1500, False, False, gone=True),
        LinkEvent("eth1", 9, MAC, 1500, True, True),
    ]
    assert table.by_name("eth1") == table.links[9]


def test_a_renamed_link_is_gone_under_its_old_name() -> None:
    """The same ifindex under a new name."""
    table = LinkTable()
    table.apply_link(link(2, "eth1"), 1)
    events = table.apply_link(link(2, "wan0"), 1)
    assert [(e.name, e.gone) for e in events if isinstance(e, LinkEvent)] == [
        ("eth1", True),
        ("wan0", False),
    ]
    assert table.by_name("eth1") is None


def test_an_address_that_failed_duplicate_detection_is_lost() -> None:
    """The host stack does not answer for it, so it is no receive route."""
    table = LinkTable()
    table.apply_link(link(2, "eth1"), 1)
    table.apply_address(address(2, "10.0.0.1"), 1)
    events = table.apply_address(address(2, "10.0.0.1", failed=True), 1)
    assert events == [AddressEvent("eth1", 2, ip_interface("10.0.0.1/24"), False)]


def test_what_a_dump_does_not_mention_is_gone() -> None:
    """After an overrun the sweep finds the ends that were lost."""
    table = LinkTable()
    for number, name in ((2, "eth1"), (3, "eth2")):
        table.apply_link(link(number, name), 1)
        table.apply_address(address(number, f"10.0.{number}.1"), 1)
    table.apply_link(link(2, "eth1"), 2)
    assert [type(event) for event in table.sweep_links(2)] == [AddressEvent, LinkEvent]
    assert list(table.links) == [2]
    assert [str(e.own) for e in table.sweep_addresses(3) if isinstance(e, AddressEvent)] == [
        "10.0.2.1/24"
    ]


@given(
    st.lists(
        st.one_of(
            st.builds(
                link, st.integers(1, 4), st.sampled_from(["a", "b", "c"]), gone=st.booleans()
            ),
            st.builds(
                address,
                st.integers(1, 4),
                st.sampled_from(["10.0.0.1", "10.0.0.2"]),
                gone=st.booleans(),
            ),
            st.just("sweep"),
        ),
        max_size=40,
    )
)
def test_a_consumer_of_the_events_has_the_same_picture(steps: list[object]) -> None:
    """Applying each event to a plain model gives the table, whatever the kernel says."""
    table = LinkTable()
    links: dict[int, LinkEvent] = {}
    addresses: set[tuple[int, Interface]] = set()
    for generation, step in enumerate(steps):
        if isinstance(step, LinkMessage):
            events = table.apply_link(step, generation)
        elif isinstance(step, AddressMessage):
            events = table.apply_address(step, generation)
        else:
            events = table.sweep_links(generation - 2) + table.sweep_addresses(generation - 2)
        for event in events:
            if isinstance(event, LinkEvent):
                if event.gone:
                    del links[event.ifindex]
                else:
                    links[event.ifindex] = event
            elif isinstance(event, AddressEvent):
                key = (event.ifindex, event.own)
                assert (key in addresses) is not event.added
                assert event.ifindex in links
                addresses ^= {key}
        assert links == table.links
        assert addresses == set(table.addresses)
        names = [one.name for one in links.values()]
        assert len(names) == len(set(names))
        assert all(table.by_name(name) is not None for name in names)
