"""Objects in /dev/shm removed, cut short, overwritten under traffic: the router heals itself."""

import contextlib
import mmap
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ribcage.shared._core import ffi

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from ribcage.shared.errors import RibcageError
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

ADDED = [f"100.64.{number}.0/24" for number in range(40)]
HEAD = 4096
SOON = 15.0  # seconds; what a slow machine needs, not what it should take
GAP_MS = 4000.0  # the most that traffic may stand still where no copy of the answers is left

Damage = Callable[[str], None]


def removed(path: str) -> None:
    Path(path).unlink()


def cut_short(path: str) -> None:
    os.truncate(path, HEAD)


def emptied(path: str) -> None:
    os.truncate(path, 0)


def head_overwritten(path: str) -> None:
    with Path(path).open("r+b") as file:
        file.write(b"\xa5" * HEAD)


def random_bytes(path: str) -> None:
    """Four bytes a page, the head included: no walk of it can succeed."""
    chance = random.Random(7)
    size = Path(path).stat().st_size
    with Path(path).open("r+b") as file:
        for at in range(0, size, 4096):
            file.seek(at + chance.randrange(1024) * 4)
            file.write(chance.randbytes(4))


def another_there(path: str) -> None:
    """Somebody else's object under our name."""
    Path(path).unlink()
    Path(path).write_bytes(b"not a segment" * 1000)


def start_with_routes(built: Rig) -> None:
    for prefix in ADDED:
        built.router.call("route.add", dst=prefix, nexthops=[VIA_H2], wait="none")


def damage(built: Rig, what: Damage, *tables: str) -> None:
    for table in tables:
        built.r1.call(what, f"/dev/shm{getattr(built.router.names, table)}")


def whole(built: Rig) -> bool:
    """Every route added is there and in the FIB, and all agrees."""
    try:
        rows = built.router.call("route.list", source="added", timeout=3)["routes"]
        report = built.router.call("fib.verify", samples=500, timeout=3)
    except Exception:
        return False
    there = {row["dst"] for row in rows if row["in_fib"]}
    return there == set(ADDED) and report["count"] == 0


def healed(built: Rig) -> None:
    wait_for("every route, and no difference", lambda: whole(built), SOON)
    built.router.wait_ready(SOON)
    built.echo()


# What is done, to what, whether control dies of it or of us, and whether packets may be lost: only
# where the very answers that workers read are destroyed.
CASES = [
    pytest.param(removed, ("fib",), False, False, id="fib-removed"),
    pytest.param(removed, ("fib",), True, False, id="fib-removed-control-killed"),
    pytest.param(removed, ("rib",), False, False, id="rib-removed"),
    pytest.param(removed, ("rib",), True, False, id="rib-removed-control-killed"),
    pytest.param(removed, ("rib", "fib"), False, False, id="both-removed"),
    pytest.param(removed, ("rib", "fib"), True, False, id="both-removed-control-killed"),
    pytest.param(another_there, ("fib",), False, False, id="fib-replaced"),
    pytest.param(another_there, ("rib",), True, False, id="rib-replaced-control-killed"),
    pytest.param(cut_short, ("rib",), False, False, id="rib-cut-short"),
    pytest.param(emptied, ("rib",), True, False, id="rib-emptied-control-killed"),
    pytest.param(head_overwritten, ("rib",), False, False, id="rib-overwritten"),
    pytest.param(random_bytes, ("rib",), True, False, id="rib-random-control-killed"),
    pytest.param(cut_short, ("fib",), False, True, id="fib-cut-short"),
    pytest.param(cut_short, ("fib",), True, True, id="fib-cut-short-control-killed"),
    pytest.param(head_overwritten, ("fib",), False, True, id="fib-overwritten"),
    pytest.param(head_overwritten, ("fib",), True, True, id="fib-overwritten-control-killed"),
    pytest.param(random_bytes, ("fib",), True, True, id="fib-random-control-killed"),
]


@pytest.mark.parametrize(("what", "tables", "killed", "lossy"), CASES)
def test_a_damaged_table_comes_back_from_the_other(
    tmp_path: Path, what: Damage, tables: tuple[str, ...], killed: bool, lossy: bool
) -> None:
    """Under a numbered stream. Afterwards every route added at run time is there, RIB, FIB and
    lookups agree, and packets cross; while the answers workers read are whole, none is lost."""
    with rig(tmp_path, config()) as built:
        start_with_routes(built)
        built.standby_ready()
        with Stream(built.h1, built.h2, "10.0.2.2", rate=1000, flows=FLOWS) as stream:
            stream.carried(0.3)
            old = built.router.pid("control")
            damage(built, what, *tables)
            if killed:
                os.kill(old, 9)
                built.successor("control", 0, old, SOON)
            else:
                wait_for("the damage to be told", lambda: told(built), SOON)
            healed(built)
            stream.carried(0.5)
        result = stream.result
        if lossy:
            assert result.received and result.longest_gap_ms < GAP_MS, result
        else:
            built.nothing_lost(result)
        assert told(built)
        if not killed:  # or the one that counted is dead
            shown = built.router.call("fib.show")["healing"]
            assert shown["fib_rebuilt"] + shown["rib_rebuilt"] + shown["names_restored"], shown


def test_no_answer_leaves_a_route_out_while_a_lost_rib_is_made_anew(tmp_path: Path) -> None:
    """Whoever asks in that moment waits, or is refused; nobody is told that routes are gone."""
    with rig(tmp_path, config()) as built:
        start_with_routes(built)
        for _ in range(3):
            built.standby_ready()
            old = built.router.pid("control")
            damage(built, cut_short, "rib")

            def complete(old: int = old) -> bool:
                try:
                    rows = built.router.call("route.list", source="added", timeout=3)["routes"]
                except RibcageError:
                    return False
                assert {row["dst"] for row in rows} == set(ADDED)
                return built.router.pid("control") not in (0, old)

            wait_for("another control's answer", complete, SOON)
        assert len(built.log_lines("rib.recovered")) == 3


def told(built: Rig) -> bool:
    """The log says that something was put right."""
    words = ("fib.restored", "rib.restored", "fib.rebuilt", "fib.replaced", "rib.lost")
    return any(built.log_lines(word) for word in words)


def mounted(size: str) -> None:
    """Inside the router's node, whose /dev/shm is its own."""
    subprocess.run(["mount", "-o", f"remount,size={size}", "/dev/shm"], check=True)


def room_left() -> int:
    """Bytes in use now: the size to which /dev/shm can be cut."""
    found = os.statvfs("/dev/shm")
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_without_room_packets_go_on_and_the_name_comes_back_with_the_room(tmp_path: Path) -> None:
    """/dev/shm is full when the FIB's name is removed: it cannot be written again, which is said;
    nothing is lost meanwhile, and with room it is there within seconds."""
    with rig(tmp_path, config()) as built:
        start_with_routes(built)
        with Stream(built.h1, built.h2, "10.0.2.2", rate=1000, flows=FLOWS) as stream:
            stream.carried(0.2)
            built.r1.call(mounted, str(built.r1.call(room_left) + 65536))
            damage(built, removed, "fib")
            wait_for("that there is no room", lambda: built.log_lines("healing.failed"), SOON)
            assert "E_SHM_FULL" in built.log_lines("healing.failed")[0]
            built.router.call("route.add", dst="100.65.0.0/24", nexthops=[VIA_H2], wait="visible")
            built.router.call("route.del", dst="100.65.0.0/24", wait="visible")
            stream.carried(0.3)
            built.r1.call(mounted, "50%")
            wait_for("the name", lambda: built.log_lines("fib.restored"), SOON)
            healed(built)
        built.nothing_lost(stream.result)


def test_a_successor_waits_for_room_while_workers_forward(tmp_path: Path) -> None:
    """The FIB's name removed, /dev/shm full, control killed: its successor says that there
    is no room and waits; packets go on; with room everything is there."""
    with rig(tmp_path, config()) as built:
        start_with_routes(built)
        built.standby_ready()
        with Stream(built.h1, built.h2, "10.0.2.2", rate=1000, flows=FLOWS) as stream:
            stream.carried(0.2)
            old = built.router.pid("control")
            built.r1.call(mounted, str(built.r1.call(room_left) + 65536))
            damage(built, removed, "fib")  # which a living control cannot write again now
            os.kill(old, signal.SIGKILL)
            wait_for("that there is no room", lambda: built.log_lines("segment.no-room"), SOON)
            stream.carried(0.3)
            built.r1.call(mounted, "50%")
            built.successor("control", 0, old, SOON)
            healed(built)
        built.nothing_lost(stream.result)


def flip_group(path: str, ids: list[int]) -> None:
    """One directory word of the groups: every packet behind it goes astray."""
    with open_file(path) as words:
        header = ffi.cast("struct fib_header *", words)
        table = ffi.cast("uint32_t *", words + header.geometry.groups_at * 64)
        for number in ids:
            table[number] ^= 8


def flip_leaves(path: str, ids: list[int]) -> None:
    """The block numbers of a thousand /16s, behind which no packet of the test goes."""
    with open_file(path) as words:
        header = ffi.cast("struct fib_header *", words)
        root = ffi.cast("uint32_t *", words + header.roots.root4 * 64)
        for chunk in range(0x2000, 0x2000 + 1000):
            root[chunk] ^= 1


@contextlib.contextmanager
def open_file(path: str) -> Iterator[Any]:
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as area:
        view = ffi.from_buffer(area)
        yield view
        ffi.release(view)


@pytest.mark.parametrize("flip", [flip_group, flip_leaves])
def test_words_that_nobody_asked_about_are_found_and_put_right(
    tmp_path: Path, flip: Callable[[str, list[int]], None]
) -> None:
    """The audit finds them by itself, builds another FIB and hands it to the workers."""
    text = config(fib='max_routes4 = 10_000\nmax_routes6 = 1_000\naudit = "2s"')
    with rig(tmp_path, text) as built:
        start_with_routes(built)
        groups = [int(n) for n in range(1, 6)]
        with Stream(built.h1, built.h2, "10.0.2.2", rate=500, flows=FLOWS) as stream:
            stream.carried(0.2)
            built.r1.call(flip, f"/dev/shm{built.router.names.fib}", groups)
            wait_for("another FIB", lambda: built.log_lines("fib.rebuilt"), SOON)
            healed(built)
            stream.carried(0.3)
        assert stream.result.longest_gap_ms < GAP_MS
        healing = built.router.call("fib.show")["healing"]
        assert healing["found"] and healing["fib_rebuilt"] == 1, healing
        assert built.log_lines("audit.differs")
