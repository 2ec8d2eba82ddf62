"""A checkpoint: the routing table as a file, and put in force again after a start."""

import dataclasses
import os
import random
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ribcage.shared._core import lib

from ribcage.controlplane.process.tables.checkpoints import KEPT, Checkpoints
from ribcage.controlplane.process.tasks import Tasks
from ribcage.controlplane.rib.checkpoint import HEAD, HEAD_BYTES, pack, read, take
from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.restore import restore, sweep
from ribcage.controlplane.routes.sources.connected import CONNECTED
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.values.nexthop import BLACKHOLE, host
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.rows import Row, rows_of
from ribcage.shared.memory.segment import remove_segment
from ribcage.shared.plan import RibPlan
from tests.controlplane.conftest import two_ports
from tests.controlplane.routes.core_calls import add, differences, run

B = ip_address("10.0.2.9")
FPM = 6


def taken(core: Core, instance: str = "t") -> bytearray:
    found = take(core.rib, core.forwarding.sets, core.topology.indices, instance, KEPT)
    return bytearray(b"".join(bytes(piece) for piece in pack(found).pieces))


def announce(core: Core, source: int, *prefixes: str) -> None:
    number = core.nexthops.intern(host(2, B))
    rows = rows_of([Row(ip_network(one), number, source, 20, 5) for one in prefixes])
    core.publisher.apply(rows, len(prefixes), 1)
    core.publisher.flush()


def again(router: Any, names: Any) -> Core:
    """Another start: nothing of the tables is left, ports have other numbers."""
    router.stop()
    Rib.remove(names)
    remove_segment(names.fib)
    core: Core = router.start()
    core.topology.indices |= {"eth7": 1, "eth1": 2, "eth2": 3}
    return core


def test_routes_come_back_over_ports_with_other_numbers(router: Any, names: Any) -> None:
    """What was added at run time is there again, through the same port by name; what a start
    asks for anyway is not in the file."""

    async def before() -> bytearray:
        router.ports()
        await router.core.sync(CONNECTED)
        add(router.core, "203.0.113.0/24", host(2, B))
        add(router.core, "2001:db8:9::/48", BLACKHOLE)
        return taken(router.core)

    data = run(before)
    core = again(router, names)

    async def afterwards() -> None:
        found = read(data, "t")
        assert found.count == 2
        done = await restore(core, found, KEPT)
        assert (done.routes, done.refused, done.stale) == (2, 0, {})
        assert not core.rib.candidates(ip_network("10.0.1.0/24"))
        for port in two_ports("10.0.{}.1/24", "2001:db8:{}::1/64"):
            index = core.topology.index_for(port.name)
            core.put_port(dataclasses.replace(port, index=index))
        await core.sync(CONNECTED)
        answer = router.reader.lookup("203.0.113.7")
        assert (core.topology.name_of(answer.port), answer.nexthop) == ("eth2", B)
        assert await differences(core) == []

    run(afterwards)


def test_routes_of_a_source_are_stale_until_it_speaks(router: Any, names: Any) -> None:
    """In force at once; after the stale time what was announced again stays, the rest goes."""

    async def before() -> bytearray:
        router.ports()
        announce(router.core, FPM, "198.51.100.0/24", "203.0.113.0/24")
        add(router.core, "192.0.2.0/24", host(2, B))
        return taken(router.core)

    data = run(before)
    router.stop()
    Rib.remove(names)
    core = router.start()

    async def afterwards() -> None:
        router.ports()
        done = await restore(core, read(data, "t"), KEPT)
        assert list(done.stale) == [FPM] and done.routes == 3
        assert router.reader.lookup("198.51.100.7").port == 2
        (route,) = core.rib.candidates(ip_network("198.51.100.0/24"))
        assert route.stale and route.selected and (route.distance, route.metric) == (20, 5)
        announce(core, FPM, "203.0.113.0/24")  # the source speaks
        assert await sweep(core, done.stale) == 1
        assert not core.rib.candidates(ip_network("198.51.100.0/24"))
        assert core.rib.candidates(ip_network("203.0.113.0/24"))
        (own,) = core.rib.candidates(ip_network("192.0.2.0/24"))
        assert own.source == RUNTIME.number and not own.stale
        core.rib.mark_stale(FPM)  # another generation: it sweeps by itself
        assert await sweep(core, done.stale) == 0

    run(afterwards)


def test_a_row_that_cannot_be_had_costs_the_others_nothing(router: Any, names: Any) -> None:
    """A gateway on no network of today, rows of a source that is not wanted: counted, with the
    reason; the rest is in force."""

    async def before() -> bytearray:
        router.ports()
        add(router.core, "203.0.113.0/24", host(2, ip_address("10.9.9.9")))
        add(router.core, "198.51.100.0/24", host(2, B))
        return taken(router.core)

    data = run(before)
    router.stop()
    Rib.remove(names)
    core = router.start()

    async def afterwards() -> None:
        router.ports()
        done = await restore(core, read(data, "t"), KEPT)
        assert (done.routes, done.refused) == (1, 1)
        assert "10.9.9.9 is on no network of eth2" in done.why
        assert core.rib.candidates(ip_network("198.51.100.0/24"))

    run(afterwards)


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A checkpoint of three routes."""
    rib = Rib.private(RibParams(max_rows=100, max_nexthops=32, max_nodes=64))
    number = rib.nexthop_intern(host(2, B))
    rib.apply_rows([Row(ip_network(f"198.51.{i}.0/24"), number, 3, 1, 0) for i in range(3)])
    sets = {number: host(2, B)}
    packed = pack(take(rib, sets, {"eth2": 2}, "t", KEPT))
    data = b"".join(bytes(piece) for piece in packed.pieces)
    rib.close()
    return data


def head(data: bytes, **changed: int) -> bytearray:
    """The same with another head, whose checksum fits."""
    names = ("magic", "major", "minor", "row", "count", "meta", "meta_crc", "rows_crc")
    values = dict(zip(names, HEAD.unpack_from(data), strict=False)) | changed
    packed = HEAD.pack(*values.values(), 0)[:-4]
    made = (packed + struct.pack("<I", zlib.crc32(packed))).ljust(HEAD_BYTES, b"\0")
    return bytearray(made + data[HEAD_BYTES:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: bytearray(data[:-1]), "is damaged"),
        (lambda data: bytearray(data[:40]), "is no checkpoint"),
        (lambda data: bytearray(), "is no checkpoint"),
        (lambda data: bytearray(b"#!/bin/sh\n" * 20), "is no checkpoint"),
        (lambda data: bytearray(data[:-1] + b"\x01"), "a checksum does not fit"),
        (lambda data: bytearray(data[:20] + b"\xff" + data[21:]), "the head's checksum"),
        (lambda data: head(data, major=2), "has version 2.0"),
        (lambda data: head(data, row=40), "rows of 40 bytes"),
        (lambda data: head(data, count=1 << 60), "expected"),
        (lambda data: head(data, meta=1 << 60), "expected"),
    ],
)
def test_what_is_not_whole_or_not_ours_is_refused(
    whole: bytes, change: Callable[[bytes], bytearray], words: str
) -> None:
    """By name, before anything of it is used."""
    with pytest.raises(RibcageError, match=words) as refused:
        read(change(whole), "t")
    assert refused.value.code == "E_CHECKPOINT"


def test_a_checkpoint_of_another_router_is_refused(whole: bytes) -> None:
    with pytest.raises(RibcageError, match='of router "t", this one is "other"'):
        read(bytearray(whole), "other")
    assert read(bytearray(whole), "t").count == 3


@given(st.data())
def test_no_bytes_harm_who_reads_them(whole: bytes, data: st.DataObject) -> None:
    """Property: any change is E_CHECKPOINT, or is the same table (the padding of the head)."""
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert read(raw, "t").count == 3
    except RibcageError as error:
        assert error.code == "E_CHECKPOINT"


# -- the file


@pytest.fixture
def made(router: Any, names: Any) -> Callable[[], Checkpoints]:
    """Checkpoints of the router's core as it is now."""
    names.make_state_dir()
    log: list[str] = []

    def make(instance_id: int = 7) -> Checkpoints:
        core = router.core
        core.replan(dataclasses.replace(core.plan, rib=RibPlan(checkpoint=True)))
        return Checkpoints(
            names, instance_id, core, Tasks(), lambda: None,
            lambda level, event, **more: log.append(event),
        )  # fmt: skip

    make.log = log  # type: ignore[attr-defined]
    return make


def test_a_control_that_died_while_it_read_leaves_it_to_the_next(
    router: Any, names: Any, made: Any
) -> None:
    """Half a table is in the segment, and no note: the successor reads the file once more, and
    nobody overwrites it before."""

    async def first() -> None:
        router.ports()
        checkpoints = made()
        checkpoints.begin(fresh=True)
        await checkpoints.restore()
        for i in range(3):
            add(router.core, f"198.51.{i}.0/24", host(2, B))
        assert (await checkpoints.write())["routes"] == 3

    run(first)
    router.stop()
    Rib.remove(names)
    router.start()

    async def half() -> None:
        router.ports()
        add(router.core, "198.51.0.0/24", host(2, B))  # as far as it came, in another run
        checkpoints = made(8)
        with pytest.raises(RibcageError, match="still being read"):
            await checkpoints.write()
        checkpoints.begin(fresh=False)
        await checkpoints.restore()
        assert router.core.rib.counts().source[RUNTIME.number] == 3
        assert names.restored.read_text() == "8"

    run(half)
    router.restart()

    async def third() -> None:
        router.core.rib.apply_rows([Row(ip_network("198.51.1.0/24"), 0, RUNTIME.number)])
        checkpoints = made(8)
        checkpoints.begin(fresh=False)
        await checkpoints.restore()
        assert router.core.rib.counts().source[RUNTIME.number] == 2, "a deleted route came back"

    run(third)


def test_a_file_that_is_refused_is_kept_aside(router: Any, names: Any, made: Any) -> None:
    """The router goes on without it, and the next write does not overwrite what was there."""
    names.checkpoint.write_bytes(b"nonsense" * 99)
    names.checkpoint.chmod(0o600)

    async def scenario() -> None:
        router.ports()
        checkpoints = made()
        checkpoints.begin(fresh=True)
        await checkpoints.restore()
        assert made.log == ["checkpoint.refused"]
        assert not names.checkpoint.exists()
        kept = names.checkpoint.with_name("rib.checkpoint.refused")
        assert kept.read_bytes() == b"nonsense" * 99
        add(router.core, "198.51.100.0/24", host(2, B))
        await checkpoints.write()
        assert read(bytearray(names.checkpoint.read_bytes()), names.instance).count == 1

    run(scenario)


def test_a_link_in_its_place_is_not_followed(router: Any, names: Any, made: Any) -> None:
    """Neither to read nor to write: what it points to stays as it is."""
    target = names.state_dir / "target"
    target.write_bytes(b"precious")
    names.checkpoint.symlink_to(target)

    async def scenario() -> None:
        router.ports()
        checkpoints = made()
        checkpoints.begin(fresh=True)
        await checkpoints.restore()
        assert made.log == ["checkpoint.unread"]
        await checkpoints.write()
        assert target.read_bytes() == b"precious"
        assert not names.checkpoint.is_symlink()

    run(scenario)


def test_what_has_not_changed_is_not_written_again(router: Any, names: Any, made: Any) -> None:
    """The interval's write looks at the rows, not at how often they were announced."""

    async def scenario() -> None:
        router.ports()
        checkpoints = made()
        checkpoints.begin(fresh=True)
        await checkpoints.restore()
        add(router.core, "198.51.100.0/24", host(2, B))
        await checkpoints.write(unchanged=False)
        first = names.checkpoint.stat().st_ino
        assert await checkpoints.write(unchanged=False) == {}
        assert names.checkpoint.stat().st_ino == first
        add(router.core, "198.51.101.0/24", host(2, B))
        assert (await checkpoints.write(unchanged=False))["routes"] == 2

    run(scenario)


def test_a_full_disk_leaves_the_old_file(
    router: Any, names: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync fails: E_CHECKPOINT, counted; the old checkpoint is whole, no temporary file stays."""

    async def scenario() -> None:
        router.ports()
        checkpoints = made()
        checkpoints.begin(fresh=True)
        await checkpoints.restore()
        await checkpoints.write()
        before = names.checkpoint.read_bytes()
        add(router.core, "198.51.100.0/24", host(2, B))

        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RibcageError, match="No space left") as refused:
            await checkpoints.write()
        assert refused.value.code == "E_CHECKPOINT"
        assert checkpoints.facts["failed"] == 1
        assert names.checkpoint.read_bytes() == before
        assert [path.name for path in names.state_dir.iterdir()] == ["rib.checkpoint"]

    run(scenario)


WRITER = """
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from ribcage.controlplane.process.tables.checkpoints import _write
from ribcage.controlplane.rib.checkpoint import take
from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import host
from ribcage.shared.memory.rows import Row
rib = Rib.private(RibParams(max_rows=5000, max_nexthops=32, max_nodes=64))
number = rib.nexthop_intern(host(2, ip_address("10.0.2.9")))
rows = [Row(ip_network((0x0b000000 + (i << 8), 24)), number, 3, 1, 0) for i in range(4000)]
rib.apply_rows(rows)
sets = {number: host(2, ip_address("10.0.2.9"))}
print("ready", flush=True)
while True:
    for count in (4000, 2000):
        taken = take(rib, sets, {"eth2": 2}, "t", (3,))
        _write(Path(sys.argv[1]), taken, None)
        rib.apply_rows([Row(row.prefix, number if count == 2000 else 0, 3, 1, 0)
                        for row in rows[2000:]])
"""


def test_a_kill_in_the_middle_of_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    """SIGKILL at a random moment, twelve times: the file is one of the two tables, whole."""
    path, chance = tmp_path / "rib.checkpoint", random.Random(5)
    seen = set()
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            try:
                writer.wait(chance.uniform(0.0, 0.05))
            except subprocess.TimeoutExpired:
                os.kill(writer.pid, signal.SIGKILL)
        if path.exists():
            seen.add(read(bytearray(path.read_bytes()), "t").count)
    assert seen and seen <= {4000, 2000}


def test_rows_of_an_old_table_are_checked_in_c() -> None:
    """Not valid, of another source, a set that is not there: the first such row is named."""
    numbers = [0, 7, 0, 9]
    good = Row(ip_network("10.0.0.0/8"), 1, 3)
    for bad in (
        dataclasses.replace(good, nexthop=2),
        dataclasses.replace(good, nexthop=4),
        dataclasses.replace(good, source=4),
    ):
        rows = rows_of([good, dataclasses.replace(good, nexthop=3, flags=32), bad, good])
        assert lib.rows_renumber(rows, 4, numbers, len(numbers), 1 << 3) == 2
        assert [(rows[i].nexthop, rows[i].flags) for i in range(2)] == [(7, 0), (9, 0)]
    rows = rows_of([good])
    rows[0].length = 33
    assert lib.rows_renumber(rows, 1, numbers, len(numbers), 1 << 3) == 0
