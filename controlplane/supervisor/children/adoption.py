"""Adopts the processes that outlived the last supervisor, and takes their descriptors back.

The channel's socket is bound anew at each start. A child that lost its supervisor connects; the
kernel tells who it is (SO_PEERCRED), the state file whether it is one of ours. Who is not is shut
out before a byte of it is read. It says `hello` with again=True. What it hands back (rings, stats
objects) is kept; it is watched by pidfd from then on, its exit status unreadable. Who is alive but
silent at the deadline is killed and replaced: a process nobody can talk to must not hold the ring
of its successor.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.handback import take_back
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.loop import Timer
from ribcage.controlplane.supervisor.statefile import ChildRecord
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.budget import Budget
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.log import log
from ribcage.shared.process.message import MESSAGE_BYTES, ChannelError, Message
from ribcage.shared.protocol import Speaks, agree, ours

GUEST_TIME = 2.0  # seconds a child that has connected has to say hello
HELLO_BYTES = 16384  # of a worker: its ports, 32 at most


@dataclass(frozen=True, slots=True)
class Guest:
    """A child that has connected and has not said hello yet."""

    channel: Channel
    timer: Timer
    record: ChildRecord


class Adoption:
    """The listening socket and the guests on it. `on_finished` runs once, after the deadline or
    when the last of the living has said hello."""

    def __init__(
        self,
        context: Context,
        handover: Handover,
        lifecycle: Lifecycle,
        on_finished: Callable[[], None],
    ) -> None:
        self.context = context
        self.handover = handover
        self.lifecycle = lifecycle
        self.on_finished = on_finished
        self._listener: socket.socket | None = None
        self.refused = 0
        self._lines = Budget(rate=1.0, burst=10.0)
        self._group: int | None = None
        self._inode = -1
        self._guests: dict[int, Guest] = {}
        self._awaited: dict[int, ChildRecord] = {}
        self._pidfds: dict[int, int] = {}
        self._ports: list[dict[str, object]] = []
        """Those of the last run, by the state file: of what interface a ring is, is our word."""
        self._deadline: Timer | None = None

    def listen(self, group: int | None) -> None:
        """Binds the name anew: the lock says that whoever had it is dead."""
        path = self.context.names.supervisor_socket
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        old = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        listener.listen(128)
        self.resume(listener, group)

    def resume(self, listener: socket.socket, group: int | None) -> None:
        """Goes on with a socket that is bound already: this process's before an upgrade."""
        self._listener, self._group, self._inode = listener, group, -1
        with contextlib.suppress(OSError):  # its name is gone: mending.py binds another
            self._inode = self.context.names.supervisor_socket.stat().st_ino
        self.context.loop.watch(listener.fileno(), self._accept)

    def listener(self) -> int:
        return -1 if self._listener is None else self._listener.fileno()

    @property
    def in_force(self) -> bool:
        """The socket of that name is ours: somebody may have removed it. True before there is one:
        then it is run.py that tries again."""
        if self._listener is None:
            return True
        try:
            return self.context.names.supervisor_socket.stat().st_ino == self._inode
        except OSError:
            return False

    def relisten(self) -> None:
        """A socket of that name again."""
        if self._listener is not None:
            self.context.loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
        self.listen(self._group)

    def expect(self, living: list[ChildRecord]) -> None:
        """Waits for these processes of the last run."""
        self._ports = list(self.context.objects.state.ports)  # the next save has those known then
        self._awaited = {record.pid: record for record in living}
        self._deadline = self.context.loop.after(self.context.limits.adoption, self._late)
        for pid in list(self._awaited):
            self._await_end(pid)

    def _await_end(self, pid: int) -> None:
        """Who ends instead of saying hello (a standby does) is not waited for any longer."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.context.loop.after(0.0, lambda: self._ended(pid))
            return
        except OSError:
            return  # no descriptor left: the deadline sees to it
        self._pidfds[pid] = fd
        self.context.loop.watch(fd, lambda: self._ended(pid))

    def _ended(self, pid: int) -> None:
        self._forget(pid)
        if self._awaited.pop(pid, None) is not None and not self._awaited:
            self.finish()

    def _forget(self, pid: int) -> None:
        fd = self._pidfds.pop(pid, None)
        if fd is not None:
            self.context.loop.unwatch(fd)
            os.close(fd)

    def close(self) -> None:
        for fd in list(self._guests):
            self._drop(fd)
        if self._listener is not None:
            self.context.loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
        with contextlib.suppress(OSError):
            self.context.names.supervisor_socket.unlink(missing_ok=True)

    # ---- guests ----

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # gone again. No descriptor left is for the loop to see: it lets us rest
        channel = Channel(sock)
        try:
            record = self._know(*channel.peer())
        except (RibcageError, OSError) as error:
            channel.close()
            self._refuse(error.message if isinstance(error, RibcageError) else str(error))
            return
        most = HELLO_BYTES if record.role == "worker" else MESSAGE_BYTES
        channel.limit(most, fds=True)
        fd = channel.fileno()
        timer = self.context.loop.after(GUEST_TIME, lambda: self._drop(fd))
        self._guests[fd] = Guest(channel, timer, record)
        self.context.loop.watch(fd, lambda: self._listen_to(fd))

    def _know(self, pid: int, uid: int) -> ChildRecord:
        """Which of the processes that are waited for this is; E_HELLO when it is none. Whoever
        was forked is in the state file before it is handed anything: there are no others."""
        record = self._awaited.get(pid)
        who = f"pid {pid} uid {uid}"
        if record is None:
            raise RibcageError("E_HELLO", f"{who} is nobody we wait for")
        if uid != record.uid or not processes.is_alive(pid, record.start):
            raise RibcageError("E_HELLO", f"{who}: the state file has uid {record.uid}")
        if any(guest.record is record for guest in self._guests.values()):
            raise RibcageError("E_HELLO", f"{who} is here already")
        return record

    def _refuse(self, why: str) -> None:
        """Few lines: anybody who may open the socket can come again and again."""
        self.refused += 1
        if self._lines.take(time.monotonic()):
            log("warning", "guest.refused", why=why, refused=self.refused)

    def _drop(self, fd: int, keep: bool = False) -> None:
        guest = self._guests.pop(fd)
        guest.timer.cancel()
        self.context.loop.unwatch(fd)
        if not keep:
            guest.channel.close()

    def _listen_to(self, fd: int) -> None:
        guest = self._guests[fd]
        channel = guest.channel
        try:
            message = channel.recv()
            if message is None:
                return
        except ChannelError as error:
            self._refuse(str(error))
            self._drop(fd)
            return
        try:
            child = self._identify(guest.record, message)
        except RibcageError as error:
            self._refuse(error.message)
            self._drop(fd)
        else:
            self._drop(fd, keep=True)
            self._adopt(child, channel, message)
        finally:
            message.close()

    def _identify(self, record: ChildRecord, message: Message) -> Child:
        """The slot this guest belongs to; E_HELLO when it does not say what it should."""
        body, pid = message.body, record.pid
        who = f"pid {pid}, {record.role} {record.index}"
        if message.type != "hello" or body.get("again") is not True:
            raise RibcageError("E_HELLO", f"{who} did not say hello again")
        if body.get("pid") != pid or body.get("instance") != self.context.names.instance:
            raise RibcageError("E_HELLO", f"{who} says it is pid {body.get('pid')!r:.16} of "
                               f"{body.get('instance')!r:.40}")  # fmt: skip
        agree(ours(), Speaks.of(body))
        child = self.context.table.slot(record.role, record.index)
        if child is None and record.role == "worker":
            # The plan has fewer workers now: adopted only to be asked to leave.
            child = Child("worker", record.index, self.context.table.control.backoff)
            self.context.table.leaving.append(child)
        if child is None or child.running:
            raise RibcageError("E_HELLO", f"{who}: that slot is taken or absent")
        return child

    def _adopt(self, child: Child, channel: Channel, message: Message) -> None:
        pid = message.body["pid"]
        record = self._awaited.pop(pid)
        self._forget(pid)
        try:
            child.cancel_timer()
            child.attach(pid, channel, record.uid, own=False)
        except OSError:  # died since: it never was here
            channel.close()
            return
        child.restarts = record.restarts
        child.became_ready()
        take_back(self.context, child, message, self._ports)
        self.lifecycle.serve(child)
        self.handover.meet(child, Speaks.of(message.body))
        self.lifecycle.adopt_watch(child)
        if child.role == "worker":
            try:
                self.handover.send_bell(child)
            except OSError as error:  # its successor is asked for one, too: descriptors are short
                log("error", "bell.failed", child=child.name, error=str(error))
        log("info", "child.adopted", child=child.name, child_pid=pid,
            ports=len(child.has_ports))  # fmt: skip
        self.context.save()
        if child in self.context.table.leaving:
            child.state = "stopping"
            self.handover.post(child, {"type": "stop"})
        if not self._awaited:
            self.finish()

    def _late(self) -> None:
        """The deadline. Who stands in the queue was in time: on a busy machine it is we who are
        late, and the timer runs before the sockets are looked at."""
        for _ in self._awaited:
            self._accept()
        for fd in list(self._guests):
            if fd in self._guests:
                self._listen_to(fd)
        self.finish()

    def finish(self) -> None:
        """The deadline, or everybody is here: kill the silent, go on."""
        if self._deadline is None:
            return
        self._deadline.cancel()
        self._deadline = None
        for record in self._awaited.values():
            if processes.is_alive(record.pid, record.start):
                log("warning", "child.silent", child=f"{record.role} {record.index}",
                    child_pid=record.pid)  # fmt: skip
                processes.kill(record.pid, record.start)
        self._awaited = {}
        for fd in list(self._guests):  # connected, and never said a word
            self._drop(fd)
        for pid in list(self._pidfds):
            self._forget(pid)
        self.on_finished()
