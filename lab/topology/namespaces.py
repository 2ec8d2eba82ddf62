"""Small networks out of network namespaces, as root or as a plain user, gone when we are.

    with Lab() as lab:
        h1, r1 = lab.node("h1"), lab.node("r1")
        lab.link("h1", "eth0", "r1", "eth1")
        r1.ip("addr add 10.0.1.1/24 dev eth1", "link set eth1 up")
        h1.run(["ping", "-c1", "10.0.1.1"], check=True)

A lab is one user namespace (a plain user only), one mount namespace with a private tmpfs on
/dev/shm, one IPC namespace; a node is a network namespace in it. All are held by processes that
read a pipe of ours: when the `with` block ends, or this process is killed in whatever way, they
see the end of file, every process still running in a node is killed, and the kernel removes
interfaces, shared memory and queues with the namespaces. Nothing is mounted or named outside:
no /run/netns, no `ip netns`. Commands are argument vectors; no shell ever reads them.

Not promised: a private /sys (`/sys/class/net` is the host's; ask netlink), a private /tmp, or
isolation of any kind from what runs inside.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ParamSpec, Self, TypeVar

from ribcage.lab.topology.carrier import wait_until_ready
from ribcage.lab.topology.inside import LabError, call_inside

__all__ = ["Lab", "LabError", "Node", "available"]

P = ParamSpec("P")
R = TypeVar("R")

HOLDER = Path(__file__).with_name("holder.py")
# A plain user's PATH on Debian has no sbin, where ip, nft and tc live.
PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
PROBE = ["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
SWITCHES = [
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),  # Ubuntu >= 23.10
    ("kernel/unprivileged_userns_clone", "0", "1"),  # older Debian
    ("user/max_user_namespaces", "0", "15000"),
]


def _environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PATH": PATH, **(extra or {})}


def _unshare(user: bool) -> list[str]:
    """The words that put a command into fresh mount, IPC and network namespaces."""
    return ["unshare", *(["--user", "--map-root-user"] if user else []), "-m", "-i", "-n", "--"]


def available(user: bool | None = None) -> tuple[bool, str]:
    """Whether labs can be made here, and if not, why and what to do: for skips and `doctor`.

    It makes the namespaces of a lab and mounts its tmpfs (5 ms): Ubuntu lets a plain user
    create a user namespace and refuses what is done in it.
    """
    user = os.geteuid() != 0 if user is None else user
    try:
        done = subprocess.run(
            [*_unshare(user), *PROBE], capture_output=True, text=True, env=_environment()
        )
        subprocess.run(["ip", "-V"], capture_output=True, check=True, env=_environment())
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        return False, f"{error}: install util-linux and iproute2"
    if done.returncode == 0:
        return True, ""
    reason = f"no namespaces here: {done.stderr.strip()}"
    for name, bad, good in SWITCHES:
        path = Path("/proc/sys") / name
        if user and path.exists() and path.read_text().strip() == bad:
            reason += f"; as root: sysctl -w {name.replace('/', '.', 1)}={good}"
    return False, reason


class Node:
    """One network namespace of a lab. Made by `Lab.node`; `pid` is its holder's."""

    def __init__(self, lab: "Lab", name: str, holder: subprocess.Popen[bytes]) -> None:
        self.lab = lab
        self.name = name
        self.pid = holder.pid
        self._holder = holder

    def command(self, argv: Sequence[str], cwd: str | Path | None = None) -> list[str]:
        """The argument vector that runs `argv` in this node from outside.

        nsenter and env replace themselves, so the process keeps the pid it was started with.
        """
        # The change of mount namespace moves the working directory to /: env goes back.
        here = ["env", "-C", str(cwd or Path.cwd())]
        return [*self.lab._nsenter(self.pid), "-n", "--", *here, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = False,
        timeout: float = 30.0,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """`subprocess.run` in this node: text, both outputs captured unless told otherwise.

        With `check`, a failure is a LabError that carries the command's own words.
        """
        options.setdefault("text", True)
        if "stdout" not in options and "stderr" not in options:
            options.setdefault("capture_output", True)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            self.command(argv, cwd), env=_environment(env), timeout=timeout, **options
        )
        if check and done.returncode != 0:
            said = f"{done.stderr or ''}{done.stdout or ''}".strip()
            raise LabError(f"{self.name}: {' '.join(argv)}: exit {done.returncode}: {said}")
        return done

    def popen(
        self,
        argv: Sequence[str],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """`subprocess.Popen` in this node; killed with the lab at the latest."""
        return subprocess.Popen(self.command(argv, cwd), env=_environment(env), **options)

    def ip(self, *lines: str) -> None:
        """Run `ip` commands, one a line without the word `ip`, in one process; all or LabError."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", check=True)

    def sysctl(self, value: int | str, *names: str) -> None:
        """Set each of `names` (slashes: `net/ipv4/ip_forward`) to `value` in this node."""
        paths = [f"/proc/sys/{name}" for name in names]
        self.run(["tee", *paths], input=f"{value}\n", check=True)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`function(*args)` in a forked child inside this node; its result or its exception.

        The child shares nothing with the caller afterwards: the result is pickled (so is an
        exception; one that cannot be becomes a LabError). It has its own main thread only.
        """
        return call_inside(self.pid, self.lab._outside(), function, *args, **kwargs)


class Lab:
    """Nodes and the links between them; a context manager. `nodes` maps names to Nodes.

    `user=True` makes a user namespace even for root (what a plain user gets); None decides by
    the effective uid. Raises LabError when the namespaces are refused: see `available`.
    """

    def __init__(self, user: bool | None = None) -> None:
        self.user = os.geteuid() != 0 if user is None else user
        self.nodes: dict[str, Node] = {}
        self._indexes = itertools.count(101)
        command = [*_unshare(self.user), sys.executable, "-I", "-S", str(HOLDER)]
        self._base = self._hold(command, b"")
        self._user_inode = Path(f"/proc/{self._base.pid}/ns/user").stat().st_ino

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill everything in the nodes and give the namespaces back; again is harmless."""
        holders = [self._base, *(node._holder for node in self.nodes.values())]
        self.nodes.clear()
        for holder in holders:  # the base first: it kills while the others keep the inodes
            _pipe(holder.stdin).close()
            holder.wait()
            _pipe(holder.stdout).close()

    def node(self, name: str) -> Node:
        """A new network namespace with `lo` up. Interfaces made in it skip DAD, so that IPv6
        addresses work at once."""
        if name in self.nodes:
            raise LabError(f"node {name} exists already")
        # cat says by its echo that it runs in the new namespace, and leaves at end of file.
        command = [*self._nsenter(self._base.pid), "--", "unshare", "-n", "--", "cat"]
        node = Node(self, name, self._hold(command, b"ready\n"))
        self.nodes[name] = node
        inode = Path(f"/proc/{node.pid}/ns/net").stat().st_ino
        stdin = _pipe(self._base.stdin)
        stdin.write(f"net {node.pid} {inode}\n".encode())
        stdin.flush()
        # Nothing runs in the node before the holder has it: it could not be found and ended.
        if _pipe(self._base.stdout).readline() != b"held\n":
            raise LabError(f"node {name}: the lab's holder is gone")
        node.sysctl(0, "net/ipv6/conf/default/accept_dad")
        node.ip("link set lo up")
        return node

    def link(self, node1: str, name1: str, node2: str, name2: str, *words: str) -> None:
        """A veth pair between two nodes, default offloads, both ends up and ready (carrier.py).

        `words` are further words of `ip link` for both ends: `"mtu", "9000"`.
        """
        more = " ".join(words)
        one, two = self.nodes[node1], self.nodes[node2]
        # Numbers of our own, all different: the kernel handles carrier changes of a veth at once
        # only when its ifindex is not its peer's, and up to a second later otherwise.
        index1, index2 = next(self._indexes), next(self._indexes)
        one.ip(
            f"link add {name1} index {index1} {more} type veth"
            f" peer name {name2} index {index2} {more} netns {two.pid}",
            f"link set {name1} up",
        )
        two.ip(f"link set {name2} up")
        one.call(wait_until_ready, name1)
        two.call(wait_until_ready, name2)

    def _outside(self) -> bool:
        """Whether the caller has to enter the lab's user namespace; a process inside (a child
        of `Node.call`) may not enter it a second time."""
        return Path("/proc/self/ns/user").stat().st_ino != self._user_inode

    def _nsenter(self, pid: int) -> list[str]:
        user = ["-U", "--preserve-credentials"] if self._outside() else []
        return ["nsenter", "-t", str(pid), *user, "-m", "-i"]

    def _hold(self, command: Sequence[str], hello: bytes) -> subprocess.Popen[bytes]:
        """Start a holder and wait for its one line."""
        pipe = subprocess.PIPE
        # A session of its own: Ctrl-C ends the creator, and only then the holder.
        holder = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=_environment(),
            start_new_session=True,
        )
        stdin, stdout, stderr = _pipe(holder.stdin), _pipe(holder.stdout), _pipe(holder.stderr)
        try:
            stdin.write(hello)
            stdin.flush()
            said = stdout.readline()
        except BrokenPipeError:
            said = b""
        if said != b"ready\n":
            holder.kill()
            holder.wait()
            raise LabError(f"{command[0]}: {stderr.read().decode(errors='replace').strip()}")
        stderr.close()
        return holder


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # every holder is started with pipes
    return stream
