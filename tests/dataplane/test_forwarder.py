"""A forwarder without ports: what it refuses, and how it waits."""

import contextlib
import mmap
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.management.methods.system import FAULTS as OFFERED
from ribcage.dataplane.forwarder import FAULTS, Descriptors, Forwarder
from ribcage.dataplane.sockets import open_port, ring_bytes
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.stats import SIZE, StatsReader, format_stats
from ribcage.shared.plan import Plan
from ribcage.shared.process.events import EventQueue
from ribcage.shared.process.rights import TRIALS

PLAN = Plan(name="t")


@pytest.fixture
def stats() -> Iterator[int]:
    fd = os.memfd_create("stats", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    format_stats(fd, 0, 1)
    yield fd
    os.close(fd)


def test_every_fault_on_offer_is_one_a_worker_does(stats: int) -> None:
    """`fault.inject` says success for nothing that a worker would not do."""
    for kind in OFFERED:
        assert kind in FAULTS or kind in TRIALS or re.fullmatch(r"exit\d+", kind)
    forwarder = Forwarder(PLAN, 0, 1, stats, Descriptors())
    with pytest.raises(RibcageError) as info:
        forwarder.fault("nonsense")
    assert info.value.code == "E_FAULT"
    with pytest.raises(RibcageError):
        forwarder.fault("fib-write")  # there is no FIB to write to
    forwarder.close()


def is_open(fd: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(fd)
        return True
    return False


def test_foreign_stats_object_is_refused() -> None:
    """Memory that is no stats object: an error that says so, nothing mapped."""
    fd = os.memfd_create("junk", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    with pytest.raises(RibcageError, match="Invalid argument"):
        Forwarder(PLAN, 0, 1, fd, Descriptors())
    os.ftruncate(fd, 0)
    with pytest.raises(RibcageError):
        Forwarder(PLAN, 0, 1, fd, Descriptors())
    os.close(fd)


def test_an_object_that_does_not_balance_is_named(stats: int) -> None:
    """E_STATS: the supervisor makes another one for a worker that ends with that."""
    with mmap.mmap(stats, SIZE) as memory, ffi.from_buffer(memory) as base:
        ffi.cast("struct stats_object *", base).block[0].rx = 1
    with pytest.raises(RibcageError, match="Bad message") as caught:
        Forwarder(PLAN, 0, 1, stats, Descriptors())
    assert caught.value.code == "E_STATS"


def test_writable_fib_is_refused(stats: int) -> None:
    """A FIB descriptor that could write is not taken: a bug here must not reach the FIB."""
    forwarder = Forwarder(PLAN, 0, 1, stats, Descriptors())
    fd = os.memfd_create("fib", os.MFD_CLOEXEC)
    os.ftruncate(fd, 1 << 16)
    with pytest.raises(RibcageError, match="not permitted"):
        forwarder.set_fib(fd)
    readonly = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    with pytest.raises(RibcageError, match="Invalid argument"):  # no FIB in it
        forwarder.set_fib(readonly)
    assert forwarder.generation == 0
    forwarder.close()
    os.close(fd)
    os.close(readonly)


def test_a_replaced_fib_is_counted_from_its_own_beginning(stats: int) -> None:
    """A FIB built anew starts at generation 0: what was seen of the one before is forgotten, and
    the object says which of the two it speaks of."""
    params = FibParams(max_routes4=16, max_routes6=16, max_groups=16, max_adjacencies=16)
    forwarder = Forwarder(PLAN, 0, 1, stats, Descriptors())
    reader, born = StatsReader(stats), set()
    assert reader.seen().table == 0
    for _ in range(2):
        with mmap.mmap(stats, SIZE) as memory, ffi.from_buffer(memory) as base:
            ffi.cast("struct stats_object *", base).seen.generation = 1000
        fd = os.memfd_create("fib", os.MFD_CLOEXEC)
        os.ftruncate(fd, params.segment_size())
        with mmap.mmap(fd, 0) as memory, ffi.from_buffer(memory) as base:
            assert lib.fib_create(base, len(memory), params.to_c(7)) == 0
            made = int(ffi.cast("struct fib_header *", base).born)
        readonly = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        forwarder.set_fib(readonly)
        os.close(readonly)
        os.close(fd)
        assert reader.seen().generation == 0
        assert reader.seen().table == made
        born.add(made)
    assert len(born) == 2
    forwarder.close()
    reader.close()


@pytest.mark.parametrize(
    ("index", "kind", "slots", "slot_bytes"),
    [(0, "nonsense", 64, 2048), (99, "port", 64, 2048), (0, "port", 1, 2048), (0, "port", 64, 7)],
)
def test_bad_port_is_refused_and_its_descriptor_closed(
    stats: int, index: int, kind: str, slots: int, slot_bytes: int
) -> None:
    """Whatever is wrong with a port, the worker goes on and leaks nothing."""
    forwarder = Forwarder(PLAN, 0, 1, stats, Descriptors())
    fd = os.memfd_create("no-socket", os.MFD_CLOEXEC)
    with pytest.raises(RibcageError):
        forwarder.add_port(index, fd, kind, slots, slot_bytes)
    assert not is_open(fd)
    assert forwarder.del_port(index) is False
    forwarder.close()


def test_run_returns_for_channel_signal_and_deadline(stats: int) -> None:
    """Each reason is named; nothing else makes it return."""
    channel_r, channel_w = os.pipe()
    signal_r, signal_w = os.pipe()
    bell, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.send(b"x")
    descriptors = Descriptors(bell=bell.fileno(), channel=channel_r, signals=signal_r)
    forwarder = Forwarder(PLAN, 0, 1, stats, descriptors)
    start = time.monotonic()
    wake = forwarder.run(start + 0.05)  # the bell alone is no reason
    assert wake.deadline and not wake.channel and not wake.signal
    assert 0.05 <= time.monotonic() - start < 10
    os.write(channel_w, b"x")
    assert forwarder.run(time.monotonic() + 10).channel
    forwarder.set_channel(-1)
    os.write(signal_w, b"x")
    wake = forwarder.run(time.monotonic() + 10)
    assert wake.signal and not wake.channel
    forwarder.quiesce(True)
    forwarder.run(time.monotonic() + 0.01)
    reader = StatsReader(stats)
    assert reader.life().state == "quiesced" and reader.life().pid == os.getpid()
    forwarder.stop()
    assert reader.life().state == "stopped"
    forwarder.close()
    for fd in (channel_r, channel_w, signal_r, signal_w):
        os.close(fd)
    bell.close()
    control.close()


def test_reports_reach_the_queue(stats: int) -> None:
    """Ready and fault, urgent first, and the bell rings."""
    queue = EventQueue.create()
    bell, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        descriptors = Descriptors(queue=queue.id, bell=bell.fileno())
        forwarder = Forwarder(PLAN, 3, 1, stats, descriptors)
        forwarder.report_ready()
        forwarder.report_fault(-22)
        assert control.recv(8)
        assert [(e.type, e.worker, e.code) for e in queue.receive_batch()] == [
            ("worker-fault", 3, -22),
            ("worker-ready", 3, 0),
        ]
        forwarder.close()
    finally:
        queue.remove()
        bell.close()
        control.close()


def test_absurd_settings_are_refused(stats: int) -> None:
    """No hold queue of zero or a million packets; a batch is clamped."""
    for packets in (0, 1 << 20):
        plan = replace(PLAN, hold=replace(PLAN.hold, packets=packets))
        with pytest.raises(RibcageError):
            Forwarder(plan, 0, 1, stats, Descriptors())
    plan = replace(PLAN, workers=replace(PLAN.workers, batch=100000))
    Forwarder(plan, 0, 1, stats, Descriptors()).close()


class Port:
    name, ifindex, kind, slots, slot_bytes = "nowhere", 0x7FFFFFF0, "port", 64, 2048


def test_open_port_says_what_is_wrong() -> None:
    """No interface, or no right: an error with the port, the reason and the exit status."""
    with pytest.raises(RibcageError) as refused:
        open_port(Port(), 0, 1, 0)
    assert "nowhere" in refused.value.message
    assert refused.value.exit_code in (Exit.PRIVILEGE, Exit.INTERNAL)


def test_ring_memory_is_known_before_it_is_taken() -> None:
    """Whole blocks: never less than asked for, at most an eighth and one block more."""
    assert ring_bytes(256, 69632) >= 256 * 69632
    assert ring_bytes(256, 69632) <= 256 * 69632 * 9 // 8 + (1 << 20)
    assert ring_bytes(512, 2048) == 512 * 2048
    with pytest.raises(ValueError, match="no ring"):
        ring_bytes(0, 2048)
    assert lib.RING_SLOTS_MAX == 65536
