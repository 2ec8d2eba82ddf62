"""The core over real segments, after a death or a failure: the next one makes it good."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import BLACKHOLE, Hop, Path, host, nexthop_set
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.memory.fib_records import AdjacencyState, FibKind
from ribcage.shared.memory.rows import rows_of
from tests.controlplane.routes.core_calls import add, differences, run

A, B = ip_address("10.0.1.9"), ip_address("10.0.2.9")


def test_a_successor_goes_on_without_a_flap(router: Any) -> None:
    """After a restart of control the FIB answers the same and no word was written."""

    async def scenario() -> None:
        router.ports()
        core = router.core
        await core.sync(CONNECTED)
        core.neighbour(Hop(2, B), Neighbour(b"\2\0\0\0\0\x99"))
        add(core, "203.0.113.0/24", nexthop_set([Path(Hop(1, A)), Path(Hop(2, B), 3)]))

    async def afterwards() -> None:
        core = router.core
        assert router.taken.replayed == 0
        assert core.publisher.counters.changes == 0
        router.ports()
        await core.sync(CONNECTED)
        assert core.publisher.counters.changes == 0
        assert router.reader.lookup("203.0.113.1", hash=3).state in tuple(AdjacencyState)
        assert core.topology.index_for("eth2") == 2
        assert Hop(2, B) in core.neighbours
        assert await differences(core) == []
        add(core, "198.51.100.0/24", host(1, A))
        assert router.reader.lookup("198.51.100.1").port == 1

    run(scenario)
    answers = [router.reader.lookup("203.0.113.1", hash=i) for i in range(64)]
    router.restart()
    assert [router.reader.lookup("203.0.113.1", hash=i) for i in range(64)] == answers
    run(afterwards)


def test_an_acknowledged_row_that_was_not_published_is_published_by_the_successor(
    router: Any,
) -> None:
    """Death between the RIB's acknowledgement and the FIB: the journal says what is missing."""

    async def scenario() -> int:
        router.ports()
        number = router.core.nexthops.intern(host(2, B))
        router.core.publisher.flush()
        return int(number)

    wanted = Wanted(ip_network("203.0.113.0/24"), RUNTIME.number, host(2, B))
    rows = rows_of([wanted.row(run(scenario))])
    assert router.rib.apply(rows, 1, rows_of([wanted.row(0)]), 1).changes == 1
    assert router.reader.match("203.0.113.1") is None
    router.restart()
    assert router.taken.replayed == 1
    assert router.reader.lookup("203.0.113.1").port == 2
    assert router.rib.changed() == router.rib.counts().published


def test_words_that_were_stored_and_not_published_get_a_generation_from_the_successor(
    router: Any,
) -> None:
    """Death between FIB words and publish: the successor finds nothing to write, and still says
    that the route is in force now. A successor of a writer that had published says nothing."""

    async def scenario() -> int:
        router.ports()
        number = router.core.nexthops.intern(BLACKHOLE)
        router.core.publisher.flush()
        return int(number)

    wanted = Wanted(ip_network("203.0.113.0/24"), RUNTIME.number, BLACKHOLE)
    rows = rows_of([wanted.row(run(scenario))])
    before = router.reader.generation
    router.restart()
    assert router.reader.generation == before
    router.core.publisher.apply(rows, len(rows), 1)
    assert router.reader.generation == before
    router.restart()
    assert router.core.publisher.counters.changes == 0
    assert router.reader.generation == before + 1
    assert router.rib.changed() == router.rib.counts().published


def test_a_failure_between_rib_and_fib_is_made_good_by_the_next_publish(router: Any) -> None:
    """The journal stays open, so neither this process nor a successor forgets the change."""

    def broken(*_: Any) -> None:
        raise OSError("shared memory went away")

    async def scenario() -> None:
        router.ports()
        core = router.core
        core.publisher.flush()
        real = core.fib.apply
        core.fib.apply = broken
        with pytest.raises(OSError, match="shared memory"):
            add(core, "203.0.113.0/24", BLACKHOLE)
        core.fib.apply = real
        assert router.reader.match("203.0.113.1") is None
        add(core, "198.51.100.0/24", BLACKHOLE)
        assert router.reader.lookup("203.0.113.1").kind == FibKind.BLACKHOLE
        assert router.rib.changed() == router.rib.counts().published

    run(scenario)


def test_a_lost_fib_is_built_again_from_the_rib(router: Any) -> None:
    async def scenario() -> None:
        router.ports()
        await router.core.sync(CONNECTED)
        add(router.core, "203.0.113.0/24", host(2, B))

    run(scenario)
    from ribcage.shared.memory.segment import remove_segment

    router.stop()
    remove_segment(router.names.fib)
    router.start()
    assert router.taken.everything
    # Links are not known yet: what needs one is not eligible until the kernel was asked.
    assert router.reader.lookup("10.0.1.1").kind == FibKind.RECEIVE

    async def links() -> None:
        router.ports()
        assert router.reader.lookup("203.0.113.1").port == 2
        assert await differences(router.core) == []

    run(links)
