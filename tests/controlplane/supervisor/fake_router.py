"""A real supervisor with small fake roles: `python fake_router.py INSTANCE PLAN-FILE`.

Forks, channels and IPC objects are real; the fake control does what it is told over its socket
(one JSON object a datagram: {"send": message} goes to the supervisor, and everything the
supervisor says comes back), the fake worker answers faults and stops. Behaviour by environment:
FAKE_WORKER=crash|deaf, FAKE_CONTROL=deaf|undo|undo-deaf, FAKE_FORK=fail, FAKE_COUNT=file.
"""

import contextlib
import errno
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.supervisor.context import Deadlines, Roles, Settings
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.start.daemon import Status, detach_streams
from ribcage.controlplane.supervisor.start.footing import stand
from ribcage.controlplane.supervisor.start.lives import run_supervisor
from ribcage.dataplane import sockets, worker
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory import stats
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelClosed, Message
from ribcage.shared.process.names import Names
from ribcage.shared.process.port_rings import PortRings
from ribcage.shared.process.reconnect import Reconnector

WORKER = os.environ.get("FAKE_WORKER", "")
CONTROL = os.environ.get("FAKE_CONTROL", "")
PROTOCOL = os.environ.get("FAKE_PROTOCOL", "")  # what a child of another build says it speaks
REAL = "FAKE_REAL" in os.environ  # a network namespace of its own, real workers and sockets
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


class Role:
    """What both fakes share: the channel, what was given, the search for a successor."""

    def __init__(self, channel_fd: int, role: str) -> None:
        self.channel = Channel.from_fd(channel_fd)
        self.role = role
        self.index = 0
        self.given: dict[str, int] = {}
        self.ports: dict[int, dict[str, Any]] = {}
        self.names = Names.resolve()  # the supervisor's environment says which
        self.orphan_timeout = 5.0
        self.others: list[Any] = []
        self.heard: list[str] = []

    def hello(self, again: bool = False) -> None:
        body = {"type": "hello", "role": self.role, "index": self.index, "pid": os.getpid(),
                "instance": self.names.instance, "version": "0",
                "again": again, "ports": list(self.ports.values())}  # fmt: skip
        if PROTOCOL:
            body["protocol"] = json.loads(PROTOCOL)
        self.channel.send(body, self.given if again else {})

    def attached(self, message: Message) -> None:
        self.index = message.body["index"]
        self.names = Names.from_json(message.body["names"])
        self.orphan_timeout = message.body["plan"]["orphan_timeout"]
        for port in message.body["ports"]:
            self.ports[port["index"]] = port
        self.take(message)

    def take(self, message: Message) -> None:
        for name in list(message.fds):
            fd = message.take(name)
            assert fd is not None
            self.given[name] = fd

    def run(self) -> None:
        with contextlib.suppress(ChannelClosed):  # read below
            self.hello()
        while True:
            poll = select.poll()
            for source in [self.channel, *self.others]:
                poll.register(source, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(5000)}
            if self.channel.fileno() in ready:
                try:
                    message = self.channel.recv()
                except ChannelClosed:
                    self.search()
                    continue
                if message is not None and message.type == "ping":
                    self.channel.send({"type": "pong", "id": message.body["id"]})
                elif message is not None:
                    self.heard.append(message.type)
                    self.handle(message)
            for source in list(self.others):
                if source.fileno() in ready:
                    self.other(source)

    def search(self) -> None:
        self.channel.close()
        search = Reconnector(self.names.supervisor_socket, self.orphan_timeout)
        while not search.expired:
            found = search.attempt()
            if found is not None:
                self.channel = found
                with contextlib.suppress(ChannelClosed):  # read by the caller
                    self.hello(again=True)
                return
            select.select([], [], [], 0.01)
        os._exit(9)

    def handle(self, message: Message) -> None:
        raise NotImplementedError

    def other(self, source: Any) -> None:
        raise NotImplementedError


class Worker(Role):
    def handle(self, message: Message) -> None:
        kind, body = message.type, message.body
        if kind in ("attach", "fib"):
            if kind == "attach":
                self.attached(message)
            self.take(message)
            if "fib" in self.given:
                self.channel.send({"type": "ready", "generation": 1})
        elif kind == "port-add":
            self.ports[body["index"]] = {k: v for k, v in body.items() if k not in ("v", "type")}
            self.take(message)
        elif kind == "port-del":
            self.ports.pop(body["index"], None)
            os.close(self.given.pop(f"ring:{body['index']}"))
        elif kind == "drain":
            self.channel.send({"type": "done", "id": body["id"]})
        elif kind == "stop" and WORKER != "deaf":
            os._exit(0)
        elif kind == "fault":
            if body["kind"] == "abort":
                os.abort()
            if body["kind"] == "segv":
                os.kill(os.getpid(), signal.SIGSEGV)
            if body["kind"] == "raise":
                raise RuntimeError("asked to")
            if body["kind"] == "close":
                self.channel.close()
                select.select([], [], [], 60)
            if body["kind"].startswith("exit"):
                os._exit(int(body["kind"][4:]))
        message.close()


def make_fib(names: Names) -> int:
    """The segment and its size; taken over when it is there. An empty but true FIB if asked."""
    path = Path("/dev/shm" + names.fib)
    if path.exists():
        return path.stat().st_size
    params = ffi.new("struct fib_params *", (1000, 1000, 64, 64, 1))
    size = lib.fib_segment_size(params) if REAL else 4096
    with path.open("x+b") as file:
        file.truncate(size)
        if REAL:
            memory = mmap.mmap(file.fileno(), size)
            assert lib.fib_create(ffi.from_buffer(memory), size, params) == 0
    return size


class Control(Role):
    def attached(self, message: Message) -> None:
        super().attached(message)
        self.obey(message.body)
        size = make_fib(self.names)
        if CONTROL.startswith("undo"):
            self.names.undo_file.write_text("{}")
        self.names.control_socket.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self.names.control_socket))
        listener.listen(4)
        self.others = [listener]
        self.clients: list[Channel] = []
        self.channel.send({"type": "fib-ready", "name": self.names.fib, "size": size})
        self.channel.send({"type": "ready", "generation": 1})
        if message.body.get("plan_id") is not None:
            self.channel.send({"type": "done", "id": message.body["plan_id"]})

    def obey(self, body: dict[str, Any]) -> None:
        """What the plan of a test says in its router_id."""
        if body["plan"].get("router_id") == "deadly":
            os._exit(5)

    def handle(self, message: Message) -> None:
        kind = message.type
        if kind in ("attach", "promote"):
            self.role = "control"
            self.attached(message)
        elif kind == "stop" and not CONTROL.endswith("deaf"):
            self.names.undo_file.unlink(missing_ok=True)
            os._exit(0)
        elif kind == "reload":
            self.obey(message.body)
            word = message.body["plan"].get("router_id")
            body = {"type": "done", "id": message.body["id"]}
            if word != "slow":  # which is answered by nobody, or by the next control
                self.channel.send(body | ({"error": "no"} if word == "refused" else {}))
        for client in getattr(self, "clients", []):
            fds = sorted(message.fds)
            with contextlib.suppress(ChannelClosed):  # its end is read in this turn or the next
                client.send({"type": "said", "message": message.body, "given": fds})
        self.take(message)

    def other(self, source: Any) -> None:
        if isinstance(source, socket.socket):
            client = Channel(source.accept()[0])
            self.others.append(client)
            self.clients.append(client)
            with contextlib.suppress(ChannelClosed):
                client.send({"type": "given", "given": sorted(self.given), "heard": self.heard})
            return
        try:
            message = source.recv()
        except ChannelClosed:
            self.others.remove(source)
            self.clients.remove(source)
            source.close()
            return
        if message is not None and message.type == "send":
            self.channel.send(message.body["message"])
        elif message is not None and message.type == "raw":
            self.channel.sock.send(message.body["text"].encode())
        elif message is not None and message.type == "exit":
            os._exit(message.body["status"])
        elif message is not None and message.type == "hang":
            select.select([], [], [], 60)


def count() -> None:
    if "FAKE_COUNT" in os.environ:
        with Path(os.environ["FAKE_COUNT"]).open("a") as file:
            file.write("x")


def run_worker(channel_fd: int) -> None:
    count()
    if WORKER == "crash":
        os._exit(3)
    Worker(channel_fd, "worker").run()


def run_control(channel_fd: int, standby: bool) -> None:
    Control(channel_fd, "standby" if standby else "control").run()


def open_port(port: PortRings, index: int, workers: int, fanout: int) -> tuple[int, int]:
    if port.name == "missing0":
        raise OSError(errno.ENODEV, "no such device")
    if port.name == "half0" and index == 1:
        raise RibcageError("E_PORT", "the second one fails")
    return os.memfd_create(f"ring-{port.index}-{index}", os.MFD_CLOEXEC), fanout or 7


class Fork:
    """The second fork and the two after it fail, when asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if os.environ.get("FAKE_FORK") == "fail" and 2 <= self.calls <= 4:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return os.fork()


def enter_namespace() -> None:
    """Root of a namespace with two interfaces, w0 and w1: gone with its last process."""
    uid, gid = os.geteuid(), os.getegid()
    path = Path(os.environ["FAKE_REAL"])
    if path.exists():  # that of the router before
        with path.open() as namespace:
            pid = int(namespace.read())
        for kind, flag in (("user", CLONE_NEWUSER), ("net", CLONE_NEWNET)):
            if kind == "user" and uid == 0:
                continue
            fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            assert lib.sys_setns(fd, flag) == 0
            os.close(fd)
        return
    assert lib.sys_unshare(CLONE_NEWNET | (0 if uid == 0 else CLONE_NEWUSER)) == 0
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    for words in ("add w0 type veth peer name w1", "set w0 up", "set w1 up"):
        subprocess.run(["ip", "link", *words.split()], check=True)


def undo(run_dir: Path) -> list[str]:
    """With a pipe of the name `undo.wait` beside the run directory it waits for a line in it."""
    waits, done = run_dir.parent / "undo.wait", run_dir.parent / "undone"
    if waits.exists():
        return ["/bin/sh", "-c", 'read line < "$1"; touch "$2"', "undo", str(waits), str(done)]
    return ["/usr/bin/touch", str(done)]


def main() -> int:
    instance, plan_file, *flags = sys.argv[1:]
    if REAL:
        enter_namespace()
    names = Names.resolve(instance)
    settings = Settings.parse(Path(plan_file).read_text())
    roles = Roles(
        worker.run_worker if REAL else run_worker,
        run_control,
        sockets.open_port if REAL else open_port,
        stats.create_stats,
        undo=undo,
        compile=lambda path: ["/bin/cat", path],
        fork=Fork(),
        is_ring=sockets.is_ring if REAL else lambda fd, port: True,
    )
    limits = Deadlines(
        adoption=float(os.environ.get("FAKE_ADOPTION", "2")),
        start=5.0,
        stop_control=1.0,
        stop_workers=1.0,
        standby_delay=0.1,
        closed_channel=0.2,
    )
    manager = Manager.from_environment(os.environ)
    stand(manager.taken.values())
    status, log_file = Status(manager.taken.pop("status", -1)), None
    try:
        if "FAKE_LOG" in os.environ and flags:
            log_file = LogFile(Path(os.environ["FAKE_LOG"]), own="FAKE_LOG_OWN" in os.environ)
        if "--daemon" in flags:
            assert log_file is not None
            fd = detach(log_file)
            status = Status(fd)
            plan = os.open(plan_file, os.O_RDONLY)
            successor = [sys.executable, __file__, names.instance, str(plan_file), "--guarded"]
            manager = Manager.to_be(successor, {"plan": plan, "status": fd})
        stop = "--stop" in flags
        return run_supervisor(
            settings, names, roles, limits, lambda: ready(status, manager), log_file, manager, stop
        )
    except RibcageError as error:
        status.failed(error)
        manager.finish(f"EXIT_STATUS={error.exit_code}")
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def ready(status: Status, manager: Manager) -> None:
    status.ready()
    manager.lasting.pop("status", None)
    manager.remove("status")


def detach(log_file: LogFile) -> int:
    """The status pipe, in a daemon; the launcher waits at its other end and exits with the verdict,
    as `ribcage run` does."""
    log_fd = log_file.open()
    read_end, write_end = os.pipe()
    if os.fork() != 0:
        os.close(write_end)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.wait()
        body = json.loads(os.read(read_end, 65536) or b"{}")
        os._exit(0 if body.get("ready") else int(body.get("exit", 7)))
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.close(read_end)
    detach_streams(log_fd)
    return write_end


if __name__ == "__main__":
    sys.exit(main())
