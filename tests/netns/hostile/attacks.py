"""What a worker can do with what it has: its descriptors, its uid, the names it was told.

    attack("bell-fill", hands, seconds)      # inside the worker process; what came of it

Each attack is a function of the Hands, and returns words for the test: errno names, counts. None
needs more than a worker was handed. Not a test.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sysv_ipc

from ribcage.shared.memory.stats import SIZE
from ribcage.shared.process.names import Names

LIBC = ctypes.CDLL(None, use_errno=True)
EVENT = struct.Struct("<HHIQQQQ16sHBBi")  # csrc/layout/event_layout.h
SO_LINGER_FOR_AN_HOUR = struct.pack("ii", 1, 3600)


@dataclass
class Hands:
    """What the worker has."""

    index: int
    names: Names
    queue_key: int
    channel: int
    stats: int
    bell: int
    rings: list[int]
    kept: list[Any] = field(default_factory=list)  # stays open until the process ends


def tried(work: Callable[[], object]) -> str:
    """`ok`, or the errno by name."""
    try:
        work()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except sysv_ipc.Error as error:
        return type(error).__name__
    return "ok"


def until(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


# ---- the stats object ----


def stats_shorten(hands: Hands, seconds: float) -> dict[str, str]:
    """Shorter, longer, sealed against the supervisor, without memory."""
    punch = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
    return {
        "to 0": tried(lambda: os.ftruncate(hands.stats, 0)),
        "to a page": tried(lambda: os.ftruncate(hands.stats, 4096)),
        "longer": tried(lambda: os.ftruncate(hands.stats, 1 << 30)),
        "seal": tried(lambda: fcntl.fcntl(hands.stats, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)),
        "hole": str(LIBC.fallocate(hands.stats, punch, ctypes.c_long(0), ctypes.c_long(4096))),
    }


def stats_garbage(hands: Hands, seconds: float) -> dict[str, str]:
    """Every byte, identity included, at random and without pause."""
    goes_on, rounds = until(seconds), 0
    with mmap.mmap(hands.stats, SIZE) as memory:
        while goes_on():
            memory[:] = os.urandom(SIZE)
            rounds += 1
            memory[:] = b"\xff" * SIZE
            time.sleep(0.001)
    return {"rounds": str(rounds)}


def generation_from_the_future(hands: Hands, seconds: float) -> dict[str, str]:
    """It says for a while that it has seen what will never be published, asleep."""
    goes_on = until(seconds)
    with mmap.mmap(hands.stats, SIZE) as memory:
        while goes_on():
            memory[64 + 16 : 64 + 20] = (2).to_bytes(4, "little")  # life.state: polling
            memory[128:136] = (2**63).to_bytes(8, "little")  # seen.generation
    return {}


# ---- the queue ----


def forged(worker: int, number: int, kind: int = 4) -> bytes:
    """A neighbour miss (4) of any worker, for an address that nobody has."""
    address = bytes([10, 0, 2, number % 250]).ljust(16, b"\0")
    return EVENT.pack(1, kind, worker, number, time.monotonic_ns(), 1, 0, address, 2, 4, 0, -5)


def send(queue: int, mtype: int, text: bytes) -> int:
    """msgsnd(2) without waiting, of any type."""
    raw = mtype.to_bytes(8, "little") + text
    return int(LIBC.msgsnd(queue, raw, ctypes.c_size_t(len(text)), 0o4000))


def queue_flood(hands: Hands, seconds: float) -> dict[str, str]:
    """Misses and faults in every name, unknown types and lengths, as fast as it goes."""
    queue = LIBC.msgget(hands.queue_key, 0)
    goes_on, sent, number = until(seconds), 0, 0
    others = (1, 3, 6, 77, 2**31, 2**63 - 1)
    while goes_on():
        number += 1
        worker = number % 3 if number % 2 else number
        text = forged(worker, number, (4, 2, 5, 99)[number % 4])
        if number % 5 == 0:
            text = b"x" * (number % 8000)
        sent += send(queue, others[number % len(others)], text) == 0
        if number % 64 == 0:
            with contextlib.suppress(OSError):
                socket.socket(fileno=os.dup(hands.bell)).send(b"x", socket.MSG_DONTWAIT)
    return {"sent": str(sent)}


def queue_spoil(hands: Hands, seconds: float) -> dict[str, str]:
    """Smaller, unreadable, gone; a worker with a uid of its own may do none of it."""
    queue = sysv_ipc.MessageQueue(hands.queue_key)

    def smaller() -> None:
        queue.max_size = 64

    return {"smaller": tried(smaller), "remove": tried(queue.remove)}


# ---- the bell ----


def bell_fill(hands: Hands, seconds: float) -> dict[str, str]:
    """Blocking, never read, rung until it is full, and again."""
    os.set_blocking(hands.bell, True)
    goes_on, rings = until(seconds), 0
    with socket.socket(fileno=os.dup(hands.bell)) as bell:
        while goes_on():
            with contextlib.suppress(OSError):
                bell.send(b"x" * 100, socket.MSG_DONTWAIT)
                rings += 1
    return {"rings": str(rings)}


def bell_break(hands: Hands, seconds: float) -> dict[str, str]:
    """Descriptors that take an hour to close, shut down, connected elsewhere."""
    with socket.socket(fileno=os.dup(hands.bell)) as bell:
        result = {"descriptor": tried(lambda: send_lingering(bell, b"x"))}
        other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        other.bind(b"\0ribcage-elsewhere-%d" % os.getpid())
        hands.kept.append(other)
        result["elsewhere"] = tried(lambda: bell.connect(other.getsockname()))
        result["shut"] = tried(lambda: bell.shutdown(socket.SHUT_RDWR))
    return result


def send_lingering(to: socket.socket, text: bytes) -> None:
    """A TCP socket whose last close waits an hour for a peer that does not read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    mine.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            mine.send(b"x" * 65536)
    mine.setblocking(True)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SO_LINGER_FOR_AN_HOUR)
    rights = array.array("i", [mine.fileno()])
    try:
        to.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_DONTWAIT)
    except OSError:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        raise
    finally:
        mine.close() if peer.fileno() < 0 else os.close(mine.detach())
    HELD.append(peer)


HELD: list[socket.socket] = []


# ---- the channel ----


NONSENSE = (
    b"{",
    b"[" * 60_000,
    b'{"v":1,"type":"stop-request"}',
    b'{"v":1,"type":"x","a":"' + b"y" * 60_000 + b'"}',
    b'{"v":1,"type":"ready"}',
)


def channel_flood(hands: Hands, seconds: float) -> dict[str, str]:
    """Messages of every size, nonsense, with as many descriptors as go into one."""
    goes_on, sent, number = until(seconds), 0, 0
    with socket.socket(fileno=os.dup(hands.channel)) as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        rights = array.array("i", [0] * 250)
        while goes_on():
            number += 1
            text = NONSENSE[number % len(NONSENSE)]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if number % 7 == 0 else []
            with contextlib.suppress(OSError):
                channel.sendmsg([text], ancillary, socket.MSG_DONTWAIT)
                sent += 1
    return {"sent": str(sent)}


def channel_linger(hands: Hands, seconds: float) -> dict[str, str]:
    """A descriptor that takes an hour to close, in a message that is refused."""
    with socket.socket(fileno=os.dup(hands.channel)) as channel:
        text = b'{"v":1,"type":"x","fds":["slow"]}'
        return {"descriptor": tried(lambda: send_lingering(channel, text))}


# ---- lock words, under the strategies that have them ----


def lock_words() -> int:
    """The descriptor of NAME.sync that came with the FIB; -1: none."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()).endswith(".sync (deleted)"):
                return int(entry.name)
    return -1


def lock_shorten(hands: Hands, seconds: float) -> dict[str, str]:
    """What they say is theirs to spoil (docs/threat-model.md); their size is not."""
    fd = lock_words()
    return {
        "to 0": tried(lambda: os.ftruncate(fd, 0)),
        "longer": tried(lambda: os.ftruncate(fd, 1 << 20)),
        "seal": tried(lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)),
    }


# ---- the others ----


def knock(hands: Hands, seconds: float) -> dict[str, str]:
    """On supervisor.sock, as a worker that looks for its supervisor: again and again."""
    goes_on, times, heard = until(seconds), 0, 0
    hello = b'{"v":1,"type":"hello","role":"control","index":0,"again":true,"pid":%d}' % os.getpid()
    while goes_on():
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(1)
            with contextlib.suppress(OSError):
                sock.connect(str(hands.names.supervisor_socket))
                times += 1
                sock.send(hello)
                heard += sock.recv(100) != b""
    return {"times": str(times), "heard": str(heard)}


def log_flood(hands: Hands, seconds: float) -> dict[str, str]:
    """Standard error is one for all: made blocking, and filled by as many lines as it takes."""
    os.set_blocking(2, True)
    goes_on, lines = until(seconds), 0
    room = select.poll()
    room.register(2, select.POLLOUT)
    while goes_on():
        if room.poll(0):  # this thread must come back; what it leaves is a full pipe
            lines += os.write(2, b"hostile line %d\n" % lines) > 0
            if lines % 50 == 0:
                time.sleep(0.001)
    return {"lines": str(lines)}


def open_descriptors(hands: Hands, seconds: float) -> dict[str, str]:
    """What this process has, by kind: nothing of a sibling, nothing to write but its own."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            flags = fcntl.fcntl(int(entry.name), fcntl.F_GETFL) & os.O_ACCMODE
            found[entry.name] = f"{entry.readlink()} {('r', 'w', 'rw')[flags]}"
    return found


ATTACKS: dict[str, Callable[[Hands, float], dict[str, str]]] = {
    work.__name__.replace("_", "-"): work
    for work in (
        stats_shorten, stats_garbage, generation_from_the_future, queue_flood, queue_spoil,
        bell_fill, bell_break, channel_flood, channel_linger, lock_shorten, knock, log_flood,
        open_descriptors,
    )
}  # fmt: skip


def attack(name: str, hands: Hands, seconds: float) -> dict[str, str]:
    return ATTACKS[name](hands, seconds)
