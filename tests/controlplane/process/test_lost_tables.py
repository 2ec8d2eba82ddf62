"""RIB or FIB lost: the one comes from the other before any group number is given out."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.fib.rebuild import Rebuild
from ribcage.controlplane.process.tables.segments import Segments, open_segments
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.recovered import any_recovered, give_back
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.static import STATIC
from ribcage.controlplane.routes.sources.table import NUMBERS
from ribcage.controlplane.values.nexthop import NexthopSet, host, nexthop_set
from ribcage.controlplane.values.nexthop import Path as Way
from ribcage.controlplane.values.wanted import Wanted
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory import segment as memory
from ribcage.shared.memory.fib_records import Hop
from ribcage.shared.memory.rows import rows_of
from ribcage.shared.plan import FibPlan, NexthopPlan, Plan, RoutePlan
from ribcage.shared.process.names import Names

A, B, C = (ip_address(text) for text in ("10.0.1.9", "10.0.2.9", "10.0.2.77"))
BOTH = nexthop_set([Way(Hop(1, A)), Way(Hop(2, B), 2)])
ADDED = {"203.0.113.0/24": host(1, A), "198.51.100.0/24": BOTH, "2001:db8:99::/48": None}
STATICS = (RoutePlan("192.0.2.0/24", nexthops=(NexthopPlan(via="10.0.2.9"),)),)
FIB = FibPlan(max_routes4=2000, max_routes6=1000)


@dataclass
class Control:
    """What a control process does with its tables, without a process around it."""

    names: Names
    plan: Plan = field(default_factory=lambda: Plan("t", fib=FIB, routes=STATICS))
    lent: int | None = None
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def log(self, level: str, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    async def begin(self, ports: Any) -> Core:
        self.segments: Segments = await open_segments(
            self.names, self.plan, 7, self.log, lent=self.lent
        )
        opened = self.segments
        self.core = Core(self.plan, opened.rib, opened.fib, opened.reader, log=self.log)
        self.taken = self.core.takeover(opened.fib_is_new, {"eth1": 1, "eth2": 2})
        if ports is not None:
            await self.heard(ports)
        return self.core

    async def heard(self, ports: Any) -> None:
        """The kernel has told its links, and every source has announced its own."""
        for port in ports("10.0.{}.1/24", "2001:db8:{}::1/64"):
            self.core.put_port(port)
        self.core.links_known()
        for source in (CONNECTED, STATIC):
            await self.core.sync(source)
        if any_recovered(self.core.rib):
            self.given_back = await give_back(self.core.rib, self.core.publisher)

    def end(self) -> None:
        self.segments.close()

    def add(self, routes: dict[str, NexthopSet | None]) -> None:
        wanted = [
            Wanted(ip_network(prefix), NUMBERS["added"], nexthops or six(), 0, 1)
            for prefix, nexthops in routes.items()
        ]
        rows = rows_of(one.row(self.core.nexthops.intern(one.nexthops)) for one in wanted)
        self.core.publisher.commit(rows, len(rows), 1)

    def fib(self) -> dict[str, str]:
        """Every route, with its next hops in words."""
        return {
            str(row.prefix): self.core.forwarding.text(row.nexthop)
            for row in self.core.fib.writer.walk()
        }

    def groups(self) -> dict[int, Any]:
        return dict(self.core.fib.read_groups())

    async def right(self) -> None:
        report = await self.core.verify(samples=3000)
        assert report["count"] == 0, report["differences"][:3]


def six() -> NexthopSet:
    return host(2, ip_address("2001:db8:2::9"))


@pytest.fixture
def control(names: Names) -> Iterator[Control]:
    yield Control(names)


@pytest.fixture
def two(request: Any) -> Any:
    from tests.controlplane.conftest import two_ports

    return two_ports


def gone(names: Names, *tables: str) -> None:
    for table in tables:
        Path(f"/dev/shm{getattr(names, table)}").unlink()


def overwrite(name: str, at: int, size: int) -> None:
    with Path(f"/dev/shm{name}").open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(size))


@pytest.mark.parametrize("how", ["removed", "emptied", "head", "everything"])
def test_a_lost_rib_comes_from_the_fib_before_any_number_is_given_out(
    control: Control, two: Any, how: str
) -> None:
    """The successor has every route, group and answer as they were; routes added at run time are
    "added" again, those of the file are the file's, and a new next hop gets a free number."""

    async def scenario() -> None:
        await control.begin(two)
        control.add(ADDED)
        before, groups = control.fib(), control.groups()
        control.end()
        name = control.names.rib
        if how == "removed":
            gone(control.names, "rib")
        elif how == "emptied":
            os.truncate(f"/dev/shm{name}", 0)
        else:
            size = Path(f"/dev/shm{name}").stat().st_size
            overwrite(name, 0, 4096 if how == "head" else size)
        core = await control.begin(None)
        # Nobody has spoken yet: the answers are the old ones, by the old numbers.
        assert (control.fib(), control.groups()) == (before, groups)
        core.nexthops.intern(host(2, C))
        assert {number: control.groups()[number] for number in groups} == groups
        await control.heard(two)
        assert control.fib() == before
        assert control.given_back[0] == len(ADDED)
        sources = {str(p): core.rib.best(ip_network(p)).source for p in [*ADDED, "192.0.2.0/24"]}
        added, static = NUMBERS["added"], NUMBERS["static"]
        assert sources == {**dict.fromkeys(ADDED, added), "192.0.2.0/24": static}
        assert not any_recovered(core.rib)
        await control.right()
        told = dict(control.lines)["rib.lost"]
        assert told["recovered"] == len(before) and told["lost"] == 0
        aside = Path(f"/dev/shm{control.names.damaged(name)}")
        assert aside.exists() == (how != "removed")
        control.end()

    asyncio.run(scenario())


def test_a_death_between_salvage_and_settling_leaves_the_task_to_the_next(
    control: Control, two: Any
) -> None:
    """The RIB says of each route that it is only recovered; whoever comes next goes on."""

    async def scenario() -> None:
        await control.begin(two)
        control.add(ADDED)
        before = control.fib()
        control.end()
        gone(control.names, "rib")
        await control.begin(None)
        control.end()
        core = await control.begin(two)
        assert control.fib() == before and not any_recovered(core.rib)
        assert core.rib.best(ip_network("203.0.113.0/24")).source == NUMBERS["added"]
        await control.right()
        control.end()

    asyncio.run(scenario())


@pytest.mark.parametrize("aggregate", [False, True])
@pytest.mark.parametrize("how", ["removed", "cut-short", "head"])
def test_a_lost_fib_comes_from_the_rib(
    control: Control, two: Any, how: str, aggregate: bool
) -> None:
    """Ports keep their indices, no route is withdrawn for want of links that are not told yet."""

    async def scenario() -> None:
        control.plan = replace(control.plan, fib=replace(FIB, aggregate=aggregate))
        await control.begin(two)
        control.add(ADDED)
        before = control.fib()
        control.end()
        name = control.names.fib
        if how == "removed":
            gone(control.names, "fib")
        elif how == "cut-short":
            os.truncate(f"/dev/shm{name}", 4096)
        else:
            overwrite(name, 0, 4096)
        core = await control.begin(None)
        assert core.rib.counts().selected[0] >= 3
        assert core.forwarding.dead == set()
        await control.heard(two)
        assert control.fib() == before
        await control.right()
        control.end()

    asyncio.run(scenario())


def test_with_both_names_gone_the_workers_descriptor_brings_both_back(
    control: Control, two: Any
) -> None:
    async def scenario() -> None:
        await control.begin(two)
        control.add(ADDED)
        before = control.fib()
        control.lent = os.open(f"/dev/shm{control.names.fib}", os.O_RDONLY)
        control.end()
        gone(control.names, "fib", "rib")
        await control.begin(two)
        assert control.fib() == before
        assert control.segments.healed == {"fib": 1, "rib": 1}
        await control.right()
        control.end()
        os.close(control.lent)

    asyncio.run(scenario())


def rebuild_of(control: Control) -> Rebuild:
    core, segments = control.core, control.segments
    return Rebuild(
        control.names, segments.params, segments.fib, core.forwarding,
        core.reconcile, core.publisher, core.reader,
    )  # fmt: skip


@pytest.mark.parametrize("sync", ["epoch", "double", "message", "mutex", "rwlock", "seqlock"])
def test_a_fib_is_built_anew_under_a_living_control(control: Control, two: Any, sync: str) -> None:
    """The same routes in another object under the name; updates and lookups go on with it, and the
    old one is kept aside."""

    async def scenario() -> None:
        control.plan = replace(control.plan, fib=replace(FIB, sync=sync))
        core = await control.begin(two)
        control.add(ADDED)
        before, old = control.fib(), core.fib.writer.born
        rebuild_of(control).run(-1, sound=True)
        assert control.fib() == before and core.fib.writer.born != old
        assert core.reader.mapped.size == core.fib.writer.mapped.size
        assert core.fib.writer.head.trouble(control.names.fib) == ""
        assert Path(f"/dev/shm{control.names.damaged(control.names.fib)}").exists()
        control.add({"203.0.113.128/25": host(2, B)})
        assert core.reader.lookup("203.0.113.200").port == 2
        await control.right()
        control.end()

    asyncio.run(scenario())


def test_without_room_for_another_fib_the_old_one_stays_in_force(
    control: Control, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E_SHM_FULL; nothing is left behind, updates go on, and the next attempt succeeds."""

    def full(*arguments: Any) -> Any:
        raise memory._no_room("/x", 1 << 20, 28)

    async def scenario() -> None:
        core = await control.begin(two)
        control.add(ADDED)
        before, born = control.fib(), core.fib.writer.born
        rebuild = rebuild_of(control)
        with monkeypatch.context() as patch:
            patch.setattr(memory, "_back", full)
            with pytest.raises(RibcageError) as caught:
                rebuild.run(-1, sound=True)
        assert caught.value.code == "E_SHM_FULL"
        assert control.fib() == before and core.fib.writer.born == born
        assert not Path(f"/dev/shm{control.names.fresh(control.names.fib)}").exists()
        control.add({"203.0.113.128/25": host(2, B)})
        rebuild.run(-1, sound=True)
        assert core.fib.writer.born != born
        await control.right()
        control.end()

    asyncio.run(scenario())
