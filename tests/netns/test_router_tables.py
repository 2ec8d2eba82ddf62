"""Tables that are full and requests that are too large: a named error, and the old state stays."""

from collections.abc import Iterator
from typing import Any

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

LIMIT = 40


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A router whose tables hold 40 IPv4 and 40 IPv6 routes, connected and own ones included."""
    fib = f"max_routes4 = {LIMIT}\nmax_routes6 = {LIMIT}"
    with rig(tmp_path_factory.mktemp("tables"), config(fib=fib)) as made:
        yield made


@pytest.fixture
def built(shared: Rig) -> Iterator[Rig]:
    """The same router; what a test added is deleted after it."""
    yield shared
    for dst in added_at_run_time(shared):
        shared.router.call("route.del", dst=dst)
    assert added_at_run_time(shared) == set()


def add(built: Rig, dst: str) -> Any:
    return built.router.call("route.add", dst=dst, nexthops=[VIA_H2])


def commit(built: Rig, prefixes: list[str], *, atomic: bool) -> Any:
    """A whole load on one connection: a load that is open goes with its client."""
    with ManagementClient(built.router.names.control_socket) as client:
        begun = client.call("route.load.begin", {"vias": ["10.0.2.2"], "atomic": atomic})
        text = "".join(f"{prefix} 1\n" for prefix in prefixes)
        client.call("route.load.chunk", {"id": begun["id"], "text": text})
        return client.call("route.load.commit", {"id": begun["id"]})


def added_at_run_time(built: Rig) -> set[str]:
    rows = built.router.call("route.list", source="added")["routes"]
    return {row["dst"] for row in rows if row["in_fib"]}


def test_a_full_table_refuses_by_name_and_keeps_what_it_has(built: Rig) -> None:
    """E_TABLE_FULL with the limit in its text; every route before it stays, packets cross, and
    a deleted route makes room."""
    added: list[str] = []
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        with pytest.raises(RibcageError) as refused:
            for number in range(LIMIT + 1):
                add(built, f"100.64.{number}.0/24")
                added.append(f"100.64.{number}.0/24")
        stream.carried(0.2)
    assert refused.value.code == "E_TABLE_FULL"
    assert str(LIMIT) in refused.value.message
    assert "max_routes4" in str(refused.value.hint)
    assert added_at_run_time(built) == set(added)
    assert len(added) > LIMIT // 2
    built.nothing_lost(stream.result)
    built.router.call("route.del", dst=added[0])
    add(built, "100.65.0.0/24")
    assert added_at_run_time(built) == {*added[1:], "100.65.0.0/24"}
    built.verified()
    built.echo()


def test_an_atomic_load_that_does_not_fit_applies_nothing(built: Rig) -> None:
    """Refused whole, by name, and a load that fits is taken afterwards."""
    add(built, "100.64.0.0/24")
    many = [f"100.70.{number}.0/24" for number in range(LIMIT)]
    with pytest.raises(RibcageError) as refused:
        commit(built, many, atomic=True)
    assert refused.value.code == "E_TABLE_FULL"
    assert "nothing was applied" in refused.value.message
    assert str(LIMIT) in refused.value.message
    assert added_at_run_time(built) == {"100.64.0.0/24"}
    assert commit(built, many[:10], atomic=True)["routes"] == 10
    assert added_at_run_time(built) == {"100.64.0.0/24", *many[:10]}
    built.verified()
    built.echo()


def test_a_load_that_is_not_atomic_applies_what_fits(built: Rig) -> None:
    """The error says how many are in force; those are a beginning of the list, and consistent."""
    many = [f"100.70.{number}.0/24" for number in range(LIMIT)]
    with pytest.raises(RibcageError) as refused:
        commit(built, many, atomic=False)
    assert refused.value.code == "E_TABLE_FULL"
    assert "in force" in refused.value.message
    there = added_at_run_time(built)
    assert 0 < len(there) < LIMIT
    assert there == set(many[: len(there)])
    built.verified()
    built.echo()


def test_too_many_next_hops_are_refused_with_the_limit(built: Rig) -> None:
    """33 next hops: named, with the number; 32 are taken."""
    hops = [{"via": f"10.0.2.{host}", "dev": None, "weight": 1} for host in range(10, 43)]
    with pytest.raises(RibcageError) as refused:
        built.router.call("route.add", dst="100.64.0.0/24", nexthops=hops)
    assert refused.value.code == "E_NEXTHOPS"
    assert "32" in refused.value.message
    assert added_at_run_time(built) == set()
    built.router.call("route.add", dst="100.64.0.0/24", nexthops=hops[:32])
    assert added_at_run_time(built) == {"100.64.0.0/24"}
    built.echo()


@pytest.mark.parametrize(
    ("dst", "hop", "code", "word"),
    [
        ("100.64.0.1/24", VIA_H2, "E_HOST_BITS", "100.64.0.0/24"),
        ("100.64.0.0/24", {"via": "192.0.2.9"}, "E_NEXTHOP", "192.0.2.9"),
        ("100.64.0.0/24", {"via": "2001:db8:2::2"}, "E_NEXTHOP", "2001:db8:2::2"),
        ("100.64.0.0/24", {"via": "10.0.2.2", "dev": "eth7"}, "E_INTERFACE", "eth7"),
        ("100.64.0.0/33", VIA_H2, "E_PREFIX", "100.64.0.0/33"),
    ],
)
def test_a_bad_route_is_refused_with_what_is_wrong(
    shared: Rig, dst: str, hop: dict[str, Any], code: str, word: str
) -> None:
    """Named error with the corrected text, or with what was not known; nothing changes."""
    generation = shared.router.call("fib.show")["published"]["generation"]
    with pytest.raises(RibcageError) as refused:
        shared.router.call("route.add", dst=dst, nexthops=[hop])
    assert refused.value.code == code
    assert word in f"{refused.value.message} {refused.value.hint}"
    assert shared.router.call("fib.show")["published"]["generation"] == generation
