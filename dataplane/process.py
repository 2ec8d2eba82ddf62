"""What a worker process knows and does between two calls of the C loop.

Use (dataplane/worker.py): `Worker(channel, signals, attach).loop()`; returns at an orderly stop.
Handles the messages of the channel, gives a supervisor's successor every descriptor back, and
keeps forwarding whatever the channel does. A message that is unknown or wrong is logged and
ignored; only a failure in the constructor, before `ready`, raises.
"""

import contextlib
import os
import time
from collections.abc import Callable

import sysv_ipc
from ribcage.shared._core import lib

from ribcage.dataplane.forwarder import Descriptors, Forwarder
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_sync import open_semaphore
from ribcage.shared.plan import Plan
from ribcage.shared.process import log as lines
from ribcage.shared.process.channel import (
    Channel,
    ChannelClosed,
    ChannelError,
    Message,
    Reconnector,
)
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names

VERSION = "0.1.0"
DRAIN_SECONDS = 4.0  # at most: longer than a packet is held for a neighbour by default
DRAIN_QUIET = 0.02  # frames of a sender that chose our ring before it was steered away
DRAIN_LOOK = 0.01


class Worker:
    """State of the process between two calls of the C loop."""

    def __init__(self, channel: Channel, signals: int, attach: Message) -> None:
        body = attach.body
        self.plan = Plan.from_json(body["plan"])
        self.names = Names.from_json(body["names"])
        self.index = int(body["index"])
        self.instance_id = int(body["instance_id"])
        self.channel: Channel | None = channel
        self.ports: dict[int, dict[str, object]] = {}
        self.fds: dict[str, int] = {}  # copies kept to hand back to a supervisor's successor
        self.stopping = False
        self.ready = False
        self._reconnector: Reconnector | None = None
        self._draining: tuple[object, float] | None = None  # id of the request, when it ends
        self._handlers: dict[str, Callable[[Message], None]] = {
            "fib": self._fib,
            "port-add": self._port_add,
            "port-del": self._port_del,
            "quiesce": lambda message: self._quiesce(message, True),
            "resume": lambda message: self._quiesce(message, False),
            "drain": self._drain,
            "plan": self._plan,
            "log-level": lambda message: lines.set_level(str(message.body.get("level"))),
            "log-file": lambda message: lines.write_to(message.fds.get("log", -1)),
            "stop": lambda message: self._stop("channel"),
            "fault": self._fault,
        }
        lines.setup(f"worker {self.index}", self.plan.log.level, self.plan.log.format)
        self._pin()
        self._begin(attach, signals)

    def _pin(self) -> None:
        cpus = self.plan.workers.cpus
        if cpus:
            self._run_on({cpus[self.index % len(cpus)]})

    def _run_on(self, cpus: set[int]) -> None:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            log("warning", "worker.pin", cpu=min(cpus), error=error.strerror)

    def _begin(self, attach: Message, signals: int) -> None:
        for name in ("stats", "bell", "bell-control"):
            fd = attach.take(name)
            if fd is None:
                raise RibcageError("E_WORKER", f"attach came without the descriptor {name}")
            self.fds[name] = fd
        assert self.channel is not None
        descriptors = Descriptors(
            self.fds["bell"],
            self.fds["bell-control"],
            self.channel.fileno(),
            signals,
            _queue_id(attach.body.get("queue_key")),
        )
        self.forwarder = Forwarder(
            self.plan, self.index, self.instance_id, self.fds["stats"], descriptors
        )
        _drop_rights()
        self._say_hello(again=False)
        self._semaphore = _semaphore_id(attach.body.get("sync_key"))
        for port in attach.body.get("ports", []):
            self._add_port(port, attach)
        self._take_fib(attach)
        attach.close()
        log("info", "worker.start", index=self.index, ports=len(self.ports), fib=self.ready)

    def loop(self) -> None:
        """Until an orderly stop."""
        while not self.stopping:
            wake = self.forwarder.run(self._deadline())
            if wake.signal:
                self._stop("SIGTERM")
            if wake.channel:
                self._serve()
            if self._reconnector is not None:
                self._look_for_supervisor()
            if self._draining is not None:
                self._look_whether_drained()
        self.forwarder.stop()
        log("info", "worker.stop", index=self.index)
        self.forwarder.close()

    def _deadline(self) -> float | None:
        """When the loop has to come back by itself."""
        deadlines = [] if self._reconnector is None else [self._reconnector.deadline()]
        if self._draining is not None:
            deadlines.append(time.monotonic() + DRAIN_LOOK)
        return min(deadlines, default=None)

    # ---- the channel ----

    def _serve(self) -> None:
        while self.channel is not None:
            try:
                message = self.channel.recv()
            except ChannelClosed:
                self._lost_supervisor()
                return
            except ChannelError as error:
                log("warning", "message.refused", why=str(error)[:200])
                continue
            if message is None:
                return
            self._handle(message)

    def _handle(self, message: Message) -> None:
        handler = self._handlers.get(message.type)
        try:
            if handler is None:
                log("warning", "message.unknown", type=message.type)
            else:
                handler(message)
        except (RibcageError, KeyError, TypeError, ValueError, OverflowError) as error:
            log("error", "message.failed", type=message.type, error=str(error)[:200])
            self.forwarder.report_fault(lib.WORKER_FAULT_MESSAGE)
        finally:
            message.close()

    def _send(self, body: dict[str, object], fds: dict[str, int] | None = None) -> None:
        if self.channel is not None:
            with contextlib.suppress(ChannelError):  # its end shows on the reading side
                self.channel.send(body, fds)

    def _lost_supervisor(self) -> None:
        """Forwarding goes on; who adopts us binds the same name."""
        log("warning", "supervisor.gone", orphan_timeout=self.plan.orphan_timeout)
        self.forwarder.set_channel(-1)
        if self.channel is not None:
            self.channel.close()
        self.channel = None
        self._reconnector = Reconnector(self.names.supervisor_socket, self.plan.orphan_timeout)

    def _look_for_supervisor(self) -> None:
        assert self._reconnector is not None
        channel = self._reconnector.attempt()
        if channel is not None:
            self.channel, self._reconnector = channel, None
            self.forwarder.set_channel(channel.fileno())
            self._say_hello(again=True)
            log("info", "supervisor.found")
        elif self._reconnector.expired:
            self._stop("orphan_timeout")

    def _say_hello(self, again: bool) -> None:
        body: dict[str, object] = {
            "type": "hello",
            "role": "worker",
            "index": self.index,
            "pid": os.getpid(),
            "instance": self.names.instance,
            "version": VERSION,
            "again": again,
            "ports": list(self.ports.values()) if again else [],
        }
        self._send(body, self.fds if again else None)

    # ---- what it may be told ----

    def _fib(self, message: Message) -> None:
        self._take_fib(message)

    def _take_fib(self, message: Message) -> None:
        fd = message.take("fib")
        if fd is None:
            return
        sync = message.take("sync")
        try:
            self.forwarder.set_fib(fd, -1 if sync is None else sync, self._semaphore)
        except BaseException:
            os.close(fd)
            raise
        finally:
            if sync is not None:
                os.close(sync)  # mapped; nothing to hand back: it is opened by name again
        if "fib" in self.fds:
            os.close(self.fds["fib"])
        self.fds["fib"] = fd
        self.ready = True
        self.forwarder.report_ready()
        self._send({"type": "ready", "generation": self.forwarder.generation})

    def _port_add(self, message: Message) -> None:
        self._add_port(message.body, message)

    def _add_port(self, port: dict[str, object], message: Message) -> None:
        fields = ("index", "name", "ifindex", "kind", "slots", "slot_bytes")
        known = {key: port[key] for key in fields}
        index, slots, slot_bytes = (int(str(port[k])) for k in ("index", "slots", "slot_bytes"))
        fd = message.take(f"ring:{index}")
        if fd is None:
            raise RibcageError("E_PORT", f"port {index} came without its ring")
        if index in self.ports:
            self._drop_port(index)
        # Two copies of one socket: the C side's, and ours for a supervisor's successor.
        copy = os.dup(fd)
        try:
            self.forwarder.add_port(index, fd, str(port["kind"]), slots, slot_bytes)
        except BaseException:
            os.close(copy)
            raise
        self.fds[f"ring:{index}"] = copy
        self.ports[index] = known
        log("info", "port.add", index=index, name=str(port["name"]))

    def _port_del(self, message: Message) -> None:
        index = int(message.body["index"])
        if index in self.ports:
            self._drop_port(index)
            log("info", "port.del", index=index)

    def _drop_port(self, index: int) -> None:
        self.forwarder.del_port(index)
        os.close(self.fds.pop(f"ring:{index}"))
        del self.ports[index]

    def _quiesce(self, message: Message, on: bool) -> None:
        self.forwarder.quiesce(on)
        self._send({"type": "done", "id": message.body.get("id")})

    def _plan(self, message: Message) -> None:
        """A reload: the limits that can change while packets flow, as a successor would have."""
        before, self.plan = self.plan, Plan.from_json(message.body["plan"])
        self.forwarder.reconfigure(self.plan)
        if before.workers.cpus != self.plan.workers.cpus:
            self._run_on(set(range(os.cpu_count() or 1)))
            self._pin()
        log("info", "worker.plan", batch=self.plan.workers.batch, icmp=self.plan.icmp.rate)

    def _drain(self, message: Message) -> None:
        """Senders were steered away: `done` is said once rings and hold queue are empty."""
        self._draining = (message.body.get("id"), time.monotonic() + DRAIN_SECONDS)

    def _look_whether_drained(self) -> None:
        assert self._draining is not None
        number, end = self._draining
        if self.forwarder.drained(DRAIN_QUIET) or time.monotonic() >= end:
            self._draining = None
            self._send({"type": "done", "id": number})

    def _fault(self, message: Message) -> None:
        kind = str(message.body.get("kind"))
        if self.plan.teach:
            log("warning", "fault", kind=kind[:32])
            self.forwarder.fault(kind)

    def _stop(self, cause: str) -> None:
        if not self.stopping:
            log("info", "worker.stopping", cause=cause)
        self.stopping = True


def _queue_id(key: object) -> int:
    """The SysV queue of this key, -1 when there is none: events are lost and counted then."""
    if not isinstance(key, int):
        return -1
    try:
        return int(sysv_ipc.MessageQueue(key).id)
    except (sysv_ipc.Error, OSError, ValueError) as error:
        log("warning", "queue.open", key=key, error=str(error))
        return -1


def _semaphore_id(key: object) -> int:
    """The semaphore set that the strategy `sem_undo` locks with; -1 under the others."""
    return open_semaphore(key) if isinstance(key, int) else -1


def _drop_rights() -> None:
    """Again, whoever forked us: a worker has nothing left that needs a right."""
    for call, error in (
        ("no_new_privs", lib.sys_no_new_privileges()),
        ("capabilities", lib.sys_drop_capabilities(0)),
    ):
        if error != 0:
            raise RibcageError("E_RIGHTS", f"{call}: {os.strerror(-error)}")
