"""A worker in namespaces, without supervisor and control: what the worker's own tests need.

        src -- veth -- [p0  this namespace: worker process, hand-made FIB  p1] -- veth -- dst

Use (in a process that `unshare -Urni` has started): `with Lab() as lab: ...`. The namespaces are
file descriptors of this process, so everything is gone when it ends. Sockets are opened "inside"
a namespace by entering it for a moment; the process has one thread.
"""

import contextlib
import fcntl
import ipaddress
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.resources.buckets import spread
from ribcage.controlplane.supervisor.resources.ports import PortSockets
from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.dataplane.sockets import open_port
from ribcage.dataplane.worker import run_worker
from ribcage.shared.memory.stats import SIZE, Snapshot, StatsReader, format_stats
from ribcage.shared.plan import Plan, RingsPlan, WorkersPlan
from ribcage.shared.process.channel import Channel, pair
from ribcage.shared.process.events import EventQueue
from ribcage.shared.process.message import Message

CLONE_NEWNET = 0x40000000
DEADLINE = 20.0
# No background traffic: the kernels of the peers send neither ICMP nor IPv6 chatter.
QUIET = """table inet quiet {
    chain out {
        type filter hook output priority 0
        meta l4proto { icmp, ipv6-icmp } drop
    }
}
"""
PLAN = Plan(name="lab", workers=WorkersPlan(count=1), rings=RingsPlan(slots=64))


def wait_for(what: str, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Until the named state is there; AssertionError names it at the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.002)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, close_fds=False)


class Namespace:
    """A network namespace; `with ns:` enters it."""

    def __init__(self) -> None:
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        assert lib.sys_unshare(CLONE_NEWNET) == 0
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        ip("link", "set", "lo", "up")
        self.__exit__()

    def __enter__(self) -> "Namespace":
        assert lib.sys_setns(self.fd, CLONE_NEWNET) == 0
        return self

    def __exit__(self, *_: object) -> None:
        assert lib.sys_setns(self.home, CLONE_NEWNET) == 0

    def packet_socket(self, interface: str) -> socket.socket:
        """Sees every frame that arrives at an interface of this namespace."""
        with self:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.bind((interface, 3))
            sock.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setblocking(False)
        return sock


@dataclass(frozen=True, slots=True)
class PortPlan:
    index: int
    name: str
    ifindex: int
    kind: str = "port"
    slots: int = 64
    slot_bytes: int = 69632


def mac_of(name: str) -> bytes:
    return bytes.fromhex(Path(f"/sys/class/net/{name}/address").read_text().replace(":", ""))


def interface_mac(name: str) -> bytes:
    # /sys shows the namespace it was mounted in, so ask a socket of the namespace we are in.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, 0x8927, name.encode().ljust(40, b"\0"))[18:24]


class Fib:
    """A FIB written by hand: groups, adjacencies, ports, routes."""

    def __init__(self) -> None:
        params = ffi.new("struct fib_params *")
        params.max_routes4 = params.max_routes6 = 1000
        params.max_groups, params.max_adjacencies = 256, 256
        params.instance_id = 77
        size = lib.fib_segment_size(params)
        self.write_fd = os.memfd_create("fib", os.MFD_CLOEXEC)
        os.ftruncate(self.write_fd, size)
        self.map = mmap.mmap(self.write_fd, size)
        self.base = ffi.from_buffer(self.map, require_writable=True)
        assert lib.fib_create(self.base, size, params) == 0
        self.writer = lib.fib_writer_open(self.base, size, ffi.new("struct fib_recovery *"))
        assert self.writer != ffi.NULL
        self.fd = os.open(f"/proc/self/fd/{self.write_fd}", os.O_RDONLY | os.O_CLOEXEC)

    def adjacency(
        self, number: int, port: int, source: bytes, target: bytes | None, via: str = "", mtu=1500
    ) -> None:
        """target None: incomplete."""
        a = ffi.new("struct fib_adjacency *")
        a.id, a.port, a.mtu = number, port, mtu
        a.state = lib.ADJACENCY_RESOLVED if target else lib.ADJACENCY_INCOMPLETE
        ffi.memmove(a.source_mac, source, 6)
        ffi.memmove(a.target_mac, target or bytes(6), 6)
        if via:
            address = ipaddress.ip_address(via)
            a.family = address.version
            ffi.memmove(a.nexthop, address.packed, len(address.packed))
        assert lib.fib_set_adjacency(self.writer, a) == 0

    def group(self, number: int, kind: int, adjacency: int = 0) -> None:
        group = ffi.new("struct fib_group *")
        group.id, group.kind = number, kind
        group.buckets = group.paths = 1 if adjacency else 0
        group.bucket[0] = adjacency
        assert lib.fib_set_group(self.writer, group) == 0

    def port(self, index: int, ifindex: int, mac: bytes, *addresses: str) -> None:
        port = ffi.new("struct fib_port *")
        port.index, port.ifindex, port.mtu, port.flags = index, ifindex, 1500, lib.PORT_UP
        ffi.memmove(port.mac, mac, 6)
        for i, text in enumerate(addresses):
            address = ipaddress.ip_address(text)
            port.address[i].family = address.version
            ffi.memmove(port.address[i].address, address.packed, len(address.packed))
        port.addresses = len(addresses)
        assert lib.fib_set_port(self.writer, port) == 0

    def route(self, prefix: str, group: int) -> None:
        network = ipaddress.ip_network(prefix)
        row = ffi.new("struct route_row[1]")
        packed = network.network_address.packed
        ffi.memmove(row[0].prefix, packed, len(packed))
        row[0].length, row[0].family, row[0].nexthop = network.prefixlen, network.version, group
        done, changed = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        assert lib.fib_apply(self.writer, row, 1, done, changed) == 0

    def publish(self) -> int:
        now = time.monotonic_ns()
        return int(lib.fib_publish(self.writer, 1, now, now))


class Lab:
    """Two peers, a FIB between them, and a worker that can be killed and started again."""

    def __init__(self, plan: Plan = PLAN, slots: int = 64, workers: int = 1) -> None:
        self.plan = replace(plan, workers=replace(plan.workers, count=workers))
        self.workers = workers
        self.run_base = Path(tempfile.mkdtemp(prefix="ribcage-test-"))
        self.src, self.dst = Namespace(), Namespace()
        ip("link", "set", "lo", "up")
        self.ports: list[PortPlan] = []
        self.mac: list[bytes] = []
        for index, ns in enumerate((self.src, self.dst)):
            name = f"p{index}"
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0")
            ip("link", "set", "eth0", "netns", f"/proc/{os.getpid()}/fd/{ns.fd}")
            ip("addr", "add", f"10.{index + 1}.0.1/24", "dev", name)
            ip("addr", "add", f"fd00:{index + 1}::1/64", "dev", name, "nodad")
            ip("link", "set", name, "up")
            self.mac.append(interface_mac(name))
            self.ports.append(PortPlan(index, name, socket.if_nametoindex(name), slots=slots))
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        self.peer_mac = [self._peer(self.src, 1), self._peer(self.dst, 2)]
        self.fib = Fib()
        self._fill()
        self.queue = EventQueue.create()
        self.stats_fds = [self._stats(i) for i in range(workers)]
        self.stats = [StatsReader(fd) for fd in self.stats_fds]
        self.bell = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
        self.rings: list[list[int]] = []  # [port][worker]
        sockets = PortSockets(open_port, 1 << 32, Store(Manager()))
        for port in self.ports:
            sockets.open(port, workers)
            self.rings.append([sockets.rings(worker)[port.index] for worker in range(workers)])
        sockets.steer(spread(workers, set(range(workers))))
        self.pids: dict[int, int] = {}
        self.channels: dict[int, Channel] = {}

    def _peer(self, ns: Namespace, net: int) -> bytes:
        with ns:
            subprocess.run(["nft", "-f", "-"], input=QUIET.encode(), check=True)
            ip("addr", "add", f"10.{net}.0.2/24", "dev", "eth0")
            ip("addr", "add", f"fd00:{net}::2/64", "dev", "eth0", "nodad")
            ip("link", "set", "eth0", "up")
            gateway = self.mac[net - 1].hex(":")
            for family, address in (("-4", f"10.{net}.0.1"), ("-6", f"fd00:{net}::1")):
                ip(
                    "neigh",
                    "replace",
                    address,
                    "lladdr",
                    gateway,
                    "dev",
                    "eth0",
                    "nud",
                    "permanent",
                )
                ip(family, "route", "replace", "default", "via", address)
            return interface_mac("eth0")

    def _fill(self) -> None:
        fib = self.fib
        for i in (0, 1):
            net = i + 1
            fib.port(i, self.ports[i].ifindex, self.mac[i], f"10.{net}.0.1", f"fd00:{net}::1")
            fib.adjacency(1 + i, i, self.mac[i], self.peer_mac[i], f"10.{net}.0.2")
            fib.adjacency(11 + i, i, self.mac[i], None)  # glean
            fib.group(1 + i, lib.FIB_KIND_FORWARD, 1 + i)
            fib.group(11 + i, lib.FIB_KIND_GLEAN, 11 + i)
        fib.group(20, lib.FIB_KIND_RECEIVE)
        fib.group(21, lib.FIB_KIND_BLACKHOLE)
        fib.group(22, lib.FIB_KIND_UNREACHABLE)
        fib.group(23, lib.FIB_KIND_PROHIBIT)
        for i in (0, 1):
            net = i + 1
            fib.route(f"10.{net}.0.0/24", 11 + i)
            fib.route(f"fd00:{net}::/64", 11 + i)
            fib.route(f"10.{net}.0.1/32", 20)
            fib.route(f"fd00:{net}::1/128", 20)
            fib.route(f"10.{net}.0.2/32", 1 + i)
            fib.route(f"fd00:{net}::2/128", 1 + i)
        fib.route("10.9.0.0/16", 2)  # behind dst
        fib.route("10.10.0.0/16", 21)
        fib.route("10.11.0.0/16", 22)
        fib.route("10.12.0.0/16", 23)
        fib.publish()

    @staticmethod
    def _stats(worker: int) -> int:
        fd = os.memfd_create("stats", os.MFD_CLOEXEC)
        os.ftruncate(fd, SIZE)
        format_stats(fd, worker, 77)
        return fd

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.remove()
        for worker in list(self.pids):
            self.kill(worker)
        with contextlib.suppress(OSError):
            self.run_base.rmdir()

    # ---- the worker process ----

    def start(self, worker: int = 0) -> None:
        """Forks, attaches, waits for `ready`."""
        ours, theirs = pair()
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                keep = os.dup(theirs.fileno())
                ours.close()
                run_worker(keep)
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        theirs.close()
        self.pids[worker], self.channels[worker] = pid, ours
        fds = {
            "stats": self.stats_fds[worker],
            "bell": self.bell[worker][1].fileno(),
            "fib": self.fib.fd,
        }
        fds |= {f"ring:{p.index}": self.rings[p.index][worker] for p in self.ports}
        body = {
            "type": "attach",
            "plan": self.plan.to_json(),
            "instance_id": 77,
            "names": {"instance": "lab", "run_base": str(self.run_base)},
            "queue_key": self.queue.key,
            "semaphore": "",
            "index": worker,
            "workers": self.workers,
            "fib": {"name": "/lab", "size": 0},
            "ports": [port_json(p) for p in self.ports],
        }
        assert ours.send(body, fds)
        self.expect("ready", worker)

    def expect(self, kind: str, worker: int = 0) -> Message:
        """The next message of this type from the worker."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            message = self.channels[worker].recv()
            if message is None:
                time.sleep(0.002)
            elif message.type == kind:
                return message
        raise AssertionError(f"no {kind} from worker {worker}")

    def tell(self, worker: int = 0, **body: object) -> None:
        assert self.channels[worker].send(body)

    def kill(self, worker: int = 0, number: int = 9) -> int:
        """Signals and reaps; the wait status."""
        pid = self.pids.pop(worker)
        os.kill(pid, number)
        return os.waitpid(pid, 0)[1]

    def reap(self, worker: int = 0) -> int:
        """Waits for a death that was asked for otherwise."""
        pid = self.pids[worker]
        status = [0]

        def gone() -> bool:
            done, status[0] = os.waitpid(pid, os.WNOHANG)
            return done == pid

        wait_for("the worker ends", gone)
        del self.pids[worker]
        return status[0]

    def snapshot(self, worker: int = 0) -> Snapshot:
        return self.stats[worker].snapshot()

    def total(self, name: str) -> int:
        return sum(getattr(s.snapshot(), name) for s in self.stats)


def port_json(port: PortPlan) -> dict[str, object]:
    return {name: getattr(port, name) for name in PortPlan.__slots__}


def receive(sock: socket.socket, wanted: Callable[[bytes], bool], n: int) -> list[bytes]:
    """n frames that `wanted` likes, by the deadline."""
    found: list[bytes] = []

    def enough() -> bool:
        with contextlib.suppress(BlockingIOError):
            while len(found) < n:
                frame = sock.recv(70000)
                if wanted(frame):
                    found.append(frame)
        return len(found) >= n

    wait_for(f"{n} frames", enough)
    return found


def drain(sock: socket.socket) -> list[bytes]:
    """Everything that is there now."""
    frames = []
    with contextlib.suppress(BlockingIOError):
        while True:
            frames.append(sock.recv(70000))
    return frames
