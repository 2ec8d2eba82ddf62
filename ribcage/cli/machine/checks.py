"""The checks of `ribcage doctor`: each tries the thing itself, not its version number.

A check is a function () -> Finding. What needs a network namespace makes one in a child
(trial.py) and leaves nothing; where none can be made, NET_ADMIN and NET_RAW are enough to try it
in the one we are in. They run in the command line's process, never in a daemon.
"""

import contextlib
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ribcage.cli.machine.trial import enter_namespace, in_child
from ribcage.shared.plan import FibPlan

# <linux/if_packet.h>, which Python's socket module does not have
SOL_PACKET, PACKET_RX_RING, PACKET_VERSION, PACKET_VNET_HDR, PACKET_FANOUT = 263, 5, 10, 15, 18
TPACKET_V2 = 1
EVENT_SIZE = 64  # csrc/layout/event_layout.h
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
# Without a packet, without a port of the host: in the check's own namespace.
TRANSIT_FILTER = """\
table netdev doctor {
    chain in {
        type filter hook ingress device @DEVICE@ priority 0
        fib daddr type unicast drop
    }
}
"""
FANOUT_UNIQUE = 0x2000  # PACKET_FANOUT_FLAG_UNIQUEID: the kernel chooses a group nobody has


@dataclass(frozen=True, slots=True)
class Finding:
    """verdict: ok, warn, skip or FAIL (then the router cannot run here)."""

    name: str
    verdict: str
    detail: str
    advice: str | None = None


def user_namespaces() -> Finding:
    """Rootless routers, demo and tests live in one."""

    def attempt() -> str:
        return "user and network namespaces" if enter_namespace() else "network namespaces"

    good, text = in_child(attempt)
    if good:
        return Finding("user namespaces", "ok", text)
    advice = "sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000"
    if Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").exists():
        advice = "an AppArmor profile with `userns,` for this python lets it, see apparmor.d(5)"
    verdict = "warn" if _has_capabilities() else "FAIL"
    return Finding("user namespaces", verdict, text, advice)


def capabilities() -> Finding:
    """Packet sockets need NET_RAW, links and addresses NET_ADMIN."""
    if _has_capabilities():
        return Finding("capabilities", "ok", "NET_ADMIN, NET_RAW")
    good, _ = in_child(lambda: str(enter_namespace()))
    if good:
        text = "NET_ADMIN and NET_RAW only inside a user namespace"
        return Finding("capabilities", "warn", text, "for the host's own ports: run as root")
    text = "neither NET_ADMIN and NET_RAW nor a user namespace"
    return Finding("capabilities", "FAIL", text, "run as root, or setpriv/systemd with both")


def packet_ring() -> Finding:
    """AF_PACKET, TPACKET_V2 ring, the virtio-net header and a fanout group, as the ports do."""

    def attempt(own: bool) -> str:
        if own:
            _loopback_up()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
            sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            block, frame = 1 << 16, 1 << 12
            ring = struct.pack("IIII", block, 2, frame, 2 * block // frame)
            sock.setsockopt(SOL_PACKET, PACKET_RX_RING, ring)
            sock.bind(("lo", 3))
            fanout = FANOUT_UNIQUE << 16  # mode hash
            sock.setsockopt(SOL_PACKET, PACKET_FANOUT, fanout)
        return "TPACKET_V2 ring, virtio-net header, fanout"

    good, text = _tried(attempt)
    if good:
        return Finding("AF_PACKET rings", "ok", text)
    return Finding("AF_PACKET rings", "FAIL", text, "the kernel needs CONFIG_PACKET=y or m")


def veth() -> Finding:
    """Pairs of virtual links: the host port, the demo and the labs."""

    def attempt(own: bool) -> str:
        with _veth():
            return "a pair was made"

    good, text = _tried(attempt, timeout=10.0)
    if good:
        return Finding("veth", "ok", text)
    return Finding("veth", "FAIL", text, "modprobe veth (CONFIG_VETH)")


def nftables() -> Finding:
    """The transit filter is a netdev ingress chain on each port."""
    program = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return Finding("nftables", "FAIL", "no `nft` program", "apt-get install nftables")

    def attempt(own: bool) -> str:
        # -c: the kernel checks it all, and forgets it.
        command = [program, "-f", "-"] if own else [program, "-c", "-f", "-"]
        with _veth() as device:
            rules = TRANSIT_FILTER.replace("@DEVICE@", device).encode()
            done = subprocess.run(command, input=rules, capture_output=True, timeout=5, check=False)
        if done.returncode:
            raise OSError(done.stderr.decode(errors="replace").split("\n")[0][:120])
        return "netdev ingress chain with fib expression"

    good, text = _tried(attempt, timeout=10.0)
    if good:
        return Finding("nftables", "ok", text)
    advice = "modprobe nf_tables nft_fib_netdev (CONFIG_NF_TABLES_NETDEV, CONFIG_NFT_FIB_NETDEV)"
    return Finding("nftables", "FAIL", text, advice)


def message_queue() -> Finding:
    """SysV queue: how many events it holds before they are counted as lost."""
    try:
        limit = int(Path("/proc/sys/kernel/msgmnb").read_text(encoding="ascii"))
    except (OSError, ValueError):
        text = "no kernel.msgmnb"
        return Finding("SysV queues", "FAIL", text, "the kernel needs CONFIG_SYSVIPC=y")
    text = f"kernel.msgmnb {limit}: a queue holds {limit // EVENT_SIZE} events"

    def attempt() -> str:
        import sysv_ipc

        sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX, 0o600).remove()
        return text

    good, why = in_child(attempt)
    if not good:
        advice = "sysctl -w kernel.msgmni=32000; `ipcs -q` lists those there are"
        return Finding("SysV queues", "FAIL", f"no queue can be made: {why}", advice)
    if limit < 16384:
        return Finding("SysV queues", "warn", text, "sysctl -w kernel.msgmnb=65536")
    return Finding("SysV queues", "ok", text)


def semaphores() -> Finding:
    """POSIX semaphores guard the writer."""

    def attempt() -> str:
        import posix_ipc

        name = f"/ribcage.doctor.{os.getpid()}"
        semaphore = posix_ipc.Semaphore(name, posix_ipc.O_CREX, mode=0o600, initial_value=1)
        try:
            semaphore.acquire(0)
            semaphore.release()
        finally:
            semaphore.unlink()
            semaphore.close()
        return "made, taken, posted, removed"

    good, text = in_child(attempt)
    if good:
        return Finding("POSIX semaphores", "ok", text)
    return Finding("POSIX semaphores", "FAIL", text, "mount a tmpfs on /dev/shm, mode 1777")


def table_bytes(plan: FibPlan | None) -> int:
    """The FIB and RIB segments of a plan (None: of the defaults): what csrc says, or a generous
    guess when the compiled module (another check's matter) cannot be asked."""
    try:
        from ribcage.shared._core import ffi, lib
        from ribcage.shared.memory.fib_engines import engine_id

        plan = FibPlan() if plan is None else plan
        fib = {"max_routes4": plan.max_routes4, "max_routes6": plan.max_routes6,
               "max_groups": lib.FIB_MAX_GROUPS, "max_adjacencies": 16384,
               "engine4": engine_id(4, plan.lookup4),
               "engine6": engine_id(6, plan.lookup6)}  # fmt: skip
        rows = plan.max_routes4 + plan.max_routes6
        rib = {"max_rows": rows, "max_nexthops": 32768, "max_nodes": 65536}
        return int(
            lib.fib_segment_size(ffi.new("struct fib_params *", fib))
            + lib.rib_segment_size(ffi.new("struct rib_params *", rib))
        )
    except Exception:  # what is wrong with the module is compiled_module() to tell
        return 1_200_000 * 280 + 300_000 * 850


def shared_memory(wanted: int) -> Callable[[], Finding]:
    """Room in /dev/shm for `wanted` bytes of segments."""

    def check() -> Finding:
        name = "/dev/shm space"
        try:
            info = os.statvfs("/dev/shm")
        except OSError as error:
            advice = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm"
            return Finding(name, "FAIL", str(error.strerror), advice)
        free = info.f_bavail * info.f_frsize
        text = f"{free >> 20} MiB free, about {-(-wanted >> 20)} MiB for the configured tables"
        if free < wanted:
            advice = "lower [fib] max_routes4/6; docker: --shm-size; mount -o remount,size=..."
            return Finding(name, "FAIL", text, advice)
        return Finding(name, "ok", text)

    return check


def kernel() -> Finding:
    """Since 6.2 UDP super-frames keep their kind across a virtio-net header."""
    release = platform.release()
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version >= (6, 2):
        return Finding("kernel", "ok", release)
    text = f"{release}: before 6.2 UDP super-frames are not passed whole"
    return Finding("kernel", "warn", text, "ethtool -K PORT tx-udp-segmentation off")


def logind() -> Finding:
    """RemoveIPC=yes deletes a normal user's shared memory and queues at the last logout."""
    name = "logind RemoveIPC"
    if not Path("/run/systemd/system").is_dir():
        return Finding(name, "skip", "systemd is not running here")
    if os.geteuid() < 1000:
        return Finding(name, "ok", "system users are left alone")
    files = [Path("/etc/systemd/logind.conf")]
    with contextlib.suppress(OSError):
        files += sorted(Path("/etc/systemd/logind.conf.d").glob("*.conf"))
    for path in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if re.search(
                r"^\s*RemoveIPC\s*=\s*(no|0|false|off)\s*$", path.read_text(), re.M | re.I
            ):
                return Finding(name, "ok", f"off in {path}")
    text = "on: your router's shared memory is removed at your last logout"
    return Finding(name, "warn", text, "loginctl enable-linger, or run as a system user")


def compiled_module() -> Finding:
    """The C half, as this Python loads it."""

    def attempt() -> str:
        import ribcage.shared._core as core

        return f"{Path(str(core.__file__)).name}, Python {platform.python_version()}"

    good, text = in_child(attempt)
    if good:
        return Finding("compiled module", "ok", text)
    return Finding("compiled module", "FAIL", text, "make build, or: pip install --force-reinstall")


def _has_capabilities() -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.M)
    mask = int(found[1], 16) if found else 0
    return bool(mask >> CAP_NET_ADMIN & 1 and mask >> CAP_NET_RAW & 1)


def _tried(attempt: Callable[[bool], str], timeout: float = 5.0) -> tuple[bool, str]:
    """As in_child() of attempt(own): in a namespace of its own, else in ours if we may."""
    if in_child(lambda: str(enter_namespace()))[0]:
        return in_child(lambda: attempt(True), namespace=True, timeout=timeout)
    if _has_capabilities():
        return in_child(lambda: attempt(False), timeout=timeout)
    return False, "neither a namespace to try it in, nor NET_ADMIN and NET_RAW"


def _loopback_up() -> None:
    """A fresh namespace has `lo` down."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 1)  # struct ifreq with IFF_UP
        fcntl.ioctl(sock, 0x8914, request)  # SIOCSIFFLAGS


@contextlib.contextmanager
def _veth() -> Iterator[str]:
    """One end's name of a pair that goes with the block."""
    from pyroute2 import IPRoute

    name = f"rcd{os.getpid()}"
    with IPRoute() as netlink:
        netlink.link("add", ifname=f"{name}a", kind="veth", peer=f"{name}b")
        try:
            yield f"{name}a"
        finally:
            index = netlink.link_lookup(ifname=f"{name}a")
            netlink.link("del", index=index[0])
