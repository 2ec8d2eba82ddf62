"""Control's FIB: made once, owned by one, taken over from the dead, read by anybody."""

import errno
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import posix_ipc
import pytest
from ribcage.shared._core import ffi

from ribcage.controlplane.fib.segment.attach import attach_fib
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.guard import BATCH_WAIT, STRANGER_WAIT, WriterGuard
from ribcage.controlplane.fib.segment.writer import FibWriter
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader, Match
from ribcage.shared.memory.fib_records import Adjacency, AdjacencyState, FibKind, Group, Hop, Port
from ribcage.shared.memory.identity import SegmentKind
from ribcage.shared.memory.rows import Applied, row_of, rows_of
from ribcage.shared.memory.segment import create_segment, open_segment, remove_segment
from ribcage.shared.process.names import Names

PARAMS = FibParams(100, 100, 32, 32)
NINE, LINK_LOCAL = ip_address("192.0.2.9"), ip_address("fe80::1")
OURS, THEIRS = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
LAN = Adjacency(Hop(2, NINE), AdjacencyState.RESOLVED, 1500, OURS, THEIRS)
LAN6 = Adjacency(Hop(3, LINK_LOCAL), AdjacencyState.INCOMPLETE, 1400)
OWN = (ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64"))
PORT = Port(2, "eth2", 7, 1500, OURS, up=True, addresses=OWN)

# A control process that dies by SIGKILL inside a batch, its change published or not.
DYING = """
import os, signal, sys
from pathlib import Path
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.attach import attach_fib
from ribcage.shared.memory.fib_records import FibKind, Group
from ribcage.shared.process.names import Names
from ribcage.shared.memory.rows import row_of
fib = attach_fib(Names(sys.argv[1], Path(sys.argv[2])), FibParams(100, 100, 32, 32))
with fib.batch():
    fib.set_group(1, Group(FibKind.BLACKHOLE))
    fib.apply([row_of("10.0.0.0/8", 1)])
    print(os.getpid(), flush=True)
    if sys.argv[3] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    made = Names(f"t{secrets.token_hex(4)}", tmp_path)
    made.make_run_dir()
    yield made
    for name in made.segments:
        remove_segment(name)
    with suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_semaphore(made.writer_semaphore)


def filled(names: Names) -> FibWriter:
    fib = attach_fib(names, PARAMS, instance_id=42)
    with fib.batch():
        fib.set_port(PORT)
        fib.set_adjacency(1, LAN)
        fib.set_adjacency(2, LAN6)
        fib.set_group(1, Group(FibKind.FORWARD, (1,)))
        fib.set_group(2, Group(FibKind.FORWARD, (1, 2)))
        fib.set_group(3, Group(FibKind.BLACKHOLE))
        fib.apply([row_of("10.0.0.0/8", 1), row_of("10.1.0.0/16", 2), row_of("::/0", 3)])
        assert fib.publish(update_id=9) == 1
    return fib


def test_what_is_published_is_read(names: Names) -> None:
    """Routes, groups, adjacencies, ports and the stamp, through a read-only descriptor."""
    with filled(names), FibReader(open_segment(names.fib, SegmentKind.FIB)) as reader:
        answer = reader.lookup("10.9.9.9")
        assert (answer.group, answer.kind.label, answer.port, answer.mtu) == (1, "forward", 2, 1500)
        assert (answer.source_mac, answer.target_mac) == (LAN.source_mac, LAN.target_mac)
        assert answer.nexthop == NINE
        assert [a.nexthop for a in reader.lookup_batch([("10.1.0.1", h) for h in range(3)])] == [
            NINE,
            LINK_LOCAL,
            NINE,
        ]
        assert reader.lookup("2001:db8::9").kind is FibKind.BLACKHOLE
        assert reader.lookup("192.0.2.1").group == 0
        assert reader.lookup_groups(["10.1.2.3", "11.0.0.0"]) == [2, 0]
        assert reader.match("10.1.2.3") == Match(ip_network("10.1.0.0/16"), 2)
        assert reader.match("11.0.0.1") is None
        assert reader.group(2) == Group(FibKind.FORWARD, (1, 2))
        assert reader.group(9) is None
        assert (reader.adjacency(1), reader.adjacency(2)) == (LAN, LAN6)
        assert (reader.port(2), reader.port(0)) == (PORT, None)
        stamp = reader.stamp(1)
        assert stamp is not None and (stamp.update_id, stamp.changes) == (9, 9)
        assert stamp.t2 <= stamp.t3
        assert (reader.generation, reader.retries) == (1, 0)
        assert reader.header()["instance_id"] == 42
        assert reader.geometry()["max_routes4"] == 100
        published = reader.published()
        assert (published["routes4"], published["routes6"], published["groups"]) == (2, 1, 3)
        with pytest.raises(RibcageError, match="no such index"):
            reader.port(99)
        with pytest.raises(RibcageError, match="not an IPv4 or IPv6 address"):
            reader.lookup("10.1")


def test_control_looks_at_its_own_table(names: Names) -> None:
    """Walk, exact, check and memory."""
    with filled(names) as fib:
        assert [*fib.walk()] == [
            row_of("10.0.0.0/8", 1),
            row_of("10.1.0.0/16", 2),
            row_of("::/0", 3),
        ]
        assert [fib.exact(ip_network(f"10.1.0.0/{length}")) for length in (16, 17)] == [2, 0]
        assert fib.check()
        memory = fib.memory()
        assert memory["live"] > 0 and memory["free"] > memory["live"]
        assert memory["retired"] <= memory["retired_most"] <= memory["segment"]
        assert memory["segment"] == PARAMS.segment_size()


def test_a_new_control_finds_the_table(names: Names) -> None:
    """After an orderly end the next writer attaches to the same routes and generation."""
    filled(names).close()
    with attach_fib(names, PARAMS) as fib:
        assert (fib.outcome, fib.recovery.routes, fib.recovery.redone) == ("attached", 3, False)
        assert (fib.generation, fib.instance_id) == (1, 42)


def test_a_second_control_is_told_who_owns_it(names: Names) -> None:
    """One owner: the other gets its pid and changes nothing; after the first it may."""
    with filled(names), pytest.raises(RibcageError, match=f"locked by pid {os.getpid()}") as caught:
        attach_fib(names, PARAMS)
    assert caught.value.code == "E_LOCKED"
    attach_fib(names, PARAMS).close()


def test_the_successor_of_a_killed_writer_does_not_wait(names: Names) -> None:
    """Killed inside a batch, the semaphore is left taken; the next owner recovers and goes on."""
    command = [sys.executable, "-c", DYING, names.instance, str(names.run_base), "kill"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    semaphore = posix_ipc.Semaphore(names.writer_semaphore)
    assert semaphore.value == 0
    with attach_fib(names, PARAMS) as fib:
        assert fib.guard.inherited
        assert semaphore.value == 1
        assert [*fib.walk()] == [row_of("10.0.0.0/8", 1)]
        with fib.batch():
            assert semaphore.value == 0
            fib.apply([row_of("10.0.0.0/8", 0)])
            assert fib.publish() == 1
    assert semaphore.value == 1
    semaphore.close()


def test_a_living_owner_in_another_process_is_named(names: Names) -> None:
    """The lock is seen across processes, and goes with its owner."""
    command = [sys.executable, "-c", DYING, names.instance, str(names.run_base), "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        pid = int(process.stdout.readline())
        with pytest.raises(RibcageError, match=f"locked by pid {pid}"):
            WriterGuard(names)
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    WriterGuard(names).close()


def test_signals_wait_for_the_end_of_a_batch(names: Names) -> None:
    """A signal that arrives inside a batch is handled after it, with the semaphore free."""
    order: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: order.append("signal"))
    try:
        with filled(names) as fib:
            for _ in range(20):
                with fib.batch():
                    signal.raise_signal(signal.SIGUSR1)
                    fib.apply([row_of("10.2.0.0/16", 1)])
                    order.append("applied")
                assert order[-2:] == ["applied", "signal"]
            assert fib.check()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_changes_are_made_inside_a_batch_alone(names: Names) -> None:
    """Outside, and in a batch within a batch, the mistake is named at once."""
    with filled(names) as fib:
        with pytest.raises(RuntimeError, match="batch"):
            fib.publish()
        with fib.batch(), pytest.raises(RuntimeError, match="open already"), fib.batch():
            pass
        with pytest.raises(ValueError), fib.batch():
            raise ValueError
        with fib.batch():
            fib.publish()


def test_a_half_made_segment_is_replaced(names: Names) -> None:
    """What a creator that died left behind is removed by the next owner."""
    create_segment(names.fib, 4096).close()
    with attach_fib(names, PARAMS) as fib:
        assert fib.outcome == "replaced"
        assert fib.mapped.size == PARAMS.segment_size()


def other_layout(names: Names) -> None:
    with open_segment(names.fib, SegmentKind.FIB, write=True) as mapped:
        layout = ffi.offsetof("struct segment_identity", "layout_id")
        mapped.address[layout] = bytes([mapped.address[layout][0] ^ 1])


def overwritten(names: Names) -> None:
    with open_segment(names.fib, SegmentKind.FIB, write=True) as mapped:
        ffi.memmove(mapped.address, b"\xa5" * 4096, 4096)


def cut_short(names: Names) -> None:
    os.truncate(f"/dev/shm{names.fib}", 8192)


def emptied(names: Names) -> None:
    os.truncate(f"/dev/shm{names.fib}", 0)


def no_tree(names: Names) -> None:
    with open_segment(names.fib, SegmentKind.FIB, write=True) as mapped:
        header = ffi.cast("struct fib_header *", mapped.address)
        header.roots.root4 = header.geometry.blocks - 1


@pytest.mark.parametrize("damage", [other_layout, overwritten, cut_short, emptied, no_tree])
def test_a_segment_that_cannot_be_used_is_set_aside_and_another_made(
    names: Names, damage: Callable[[Names], None]
) -> None:
    """Its content is kept under the other name, one at most; the new one is empty and says why."""
    filled(names).close()
    damage(names)
    number = Path(f"/dev/shm{names.fib}").stat().st_ino
    with attach_fib(names, PARAMS) as fib:
        assert (fib.outcome, fib.published()["routes4"]) == ("replaced", 0)
        assert fib.why and fib.mapped.name == names.fib
        with fib.batch():
            fib.set_group(1, Group(FibKind.BLACKHOLE))
    aside = Path(f"/dev/shm{names.damaged(names.fib)}")
    assert aside.stat().st_ino == number
    second = Path(f"/dev/shm{names.fib}").stat().st_ino
    damage(names)
    attach_fib(names, PARAMS).close()
    assert aside.stat().st_ino == second
    assert not Path(f"/dev/shm{names.fresh(names.fib)}").exists()


def test_a_segment_whose_name_is_gone_is_written_again_from_a_descriptor(names: Names) -> None:
    """The workers' descriptor: every route is there, under the name, in an object of its own."""
    fib = filled(names)
    routes, fd = list(fib.walk()), os.open(f"/dev/shm{names.fib}", os.O_RDONLY)
    fib.close()
    remove_segment(names.fib)
    with attach_fib(names, PARAMS, lent=fd) as again:
        assert (again.outcome, list(again.walk())) == ("restored", routes)
        assert again.check() and os.fstat(again.mapped.fd).st_ino != os.fstat(fd).st_ino
    os.close(fd)


def test_what_is_cut_short_and_has_no_name_is_not_restored(names: Names) -> None:
    filled(names).close()
    fd = os.open(f"/dev/shm{names.fib}", os.O_RDONLY)
    cut_short(names)
    remove_segment(names.fib)
    with attach_fib(names, PARAMS, lent=fd) as fib:
        assert (fib.outcome, fib.published()["routes4"]) == ("replaced", 0)
    os.close(fd)


def test_a_semaphore_that_is_gone_or_miscounted_is_put_right(names: Names) -> None:
    """`look` says what it was, once; a batch goes on as before."""
    with filled(names) as fib:
        assert fib.guard.look() == ""
        posix_ipc.unlink_semaphore(names.writer_semaphore)
        assert (fib.guard.look(), fib.guard.look()) == ("removed", "")
        other = posix_ipc.Semaphore(names.writer_semaphore)
        other.acquire(0)
        assert (fib.guard.look(), fib.guard.look()) == ("its count was 0", "")
        other.release()
        assert (fib.guard.look(), fib.guard.look()) == ("its count was 2", "")
        other.close()
        with fib.batch():
            fib.set_group(5, Group(FibKind.BLACKHOLE))


def test_a_batch_waits_a_moment_for_a_stranger_with_the_semaphore_and_no_longer(
    names: Names,
) -> None:
    """Who owns the tables is right: the count is put right, the batch goes on, `look` tells."""
    with filled(names) as fib:
        other = posix_ipc.Semaphore(names.writer_semaphore)
        other.acquire(0)
        start = time.monotonic()
        with fib.batch():
            fib.set_group(5, Group(FibKind.BLACKHOLE))
        assert STRANGER_WAIT <= time.monotonic() - start < BATCH_WAIT
        assert (fib.guard.look(), fib.guard.look()) == ("somebody else had taken it", "")
        other.close()


def test_errors_say_what_and_where(names: Names) -> None:
    """Rows, limits and records: the code, the row, and what is in force."""
    with filled(names) as fib, fib.batch():
        refused = fib.apply([row_of("10.3.0.0/16", 1), row_of("10.4.0.0/16", 20)])
        assert (refused.applied, refused.error) == (1, errno.EINVAL)
        many = rows_of(row_of(f"172.16.{i}.0/24", 1) for i in range(120))
        full = fib.apply(many)
        assert (full.applied, full.error) == (97, errno.E2BIG)
        assert fib.apply(many, 3) == Applied(3, 0)
        with pytest.raises(RibcageError, match="group 1 is still named by a route"):
            fib.clear_group(1)
        with pytest.raises(RibcageError, match="group 9 is not set"):
            fib.clear_group(9)
        with pytest.raises(RibcageError, match="names an adjacency that is not set"):
            fib.set_group(4, Group(FibKind.FORWARD, (30,)))
        with pytest.raises(RibcageError, match="300 buckets, the limit is 256"):
            fib.set_group(4, Group(FibKind.FORWARD, (1,) * 300))
        with pytest.raises(RibcageError, match="id or port out of range"):
            fib.set_adjacency(1, Adjacency(Hop(40), AdjacencyState.RESOLVED, 1500))
        with pytest.raises(RibcageError, match="port 5 is not set"):
            fib.clear_port(5)
    with pytest.raises(RibcageError, match="cannot size a FIB"):
        FibParams(max_groups=40_000).segment_size()
