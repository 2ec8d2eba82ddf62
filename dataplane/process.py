"""A worker process between two calls of the C loop: messages, signals, deadlines.

Use (dataplane/worker.py): `Worker(channel, signals, attach).loop()`; returns at an orderly stop.
Handles the messages of the channel, gives a supervisor's successor every descriptor back, and
keeps forwarding whatever the channel does. A message that is unknown or wrong is logged and
ignored; only a failure in the constructor, before `ready`, raises.
"""

import os
import time
from collections.abc import Callable

import sysv_ipc
from ribcage.shared._core import lib

from ribcage.dataplane.forwarder import Descriptors, Forwarder
from ribcage.dataplane.link import Link
from ribcage.shared.build import VERSION
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_sync import open_semaphore
from ribcage.shared.memory.ring_positions import read_positions
from ribcage.shared.plan import Plan
from ribcage.shared.process import log as lines
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.log import log
from ribcage.shared.process.message import Message
from ribcage.shared.process.names import Names
from ribcage.shared.process.port_rings import UNMAPPABLE, PortRings
from ribcage.shared.process.rights import TRIALS, WORKER_CALLS, drop_rights, guard_calls, try_call
from ribcage.shared.protocol import HELLO, Speaks, agree, ours

CPUS = os.cpu_count() or 1  # now: a file says it, and a worker opens none later
DRAIN_SECONDS = 4.0  # at most: longer than a packet is held for a neighbour by default
DRAIN_QUIET = 0.02  # frames of a sender that chose our ring before it was steered away
DRAIN_LOOK = 0.01


class WorkerProcess:
    """State of the process between two calls of the C loop."""

    def __init__(self, channel: Channel, signals: int, attach: Message) -> None:
        body = attach.body
        self.plan = Plan.from_json(body["plan"])
        self.names = Names.from_json(body["names"])
        self.index = int(body["index"])
        self.ports: dict[int, PortRings] = {}
        self.stopping = False
        self.ready = False
        self._draining: tuple[object, float, float, bool] | None = None  # see _drain
        self.unknown = 0  # messages of a newer supervisor, left out
        self._handlers: dict[str, Callable[[Message], None]] = {
            "fib": self._take_fib,
            "port-add": self._port_add,
            "port-del": self._port_del,
            "quiesce": lambda message: self._quiesce(message, True),
            "resume": lambda message: self._quiesce(message, False),
            "drain": self._drain,
            "plan": self._plan,
            "welcome": self._welcome,
            "log-level": lambda message: lines.set_level(str(message.body.get("level"))),
            "log-file": lambda message: lines.write_to(message.fds.get("log", -1)),
            "stop": lambda message: self._stop("channel"),
            "bell": self._take_bell,
            "queue": lambda message: self._use_queue(message.body.get("queue_key")),
            "fault": self._fault,
        }
        lines.setup(f"worker {self.index}", self.plan.log.level, self.plan.log.format)
        self._pin()
        # Copies kept to hand back to a supervisor's successor.
        self.fds = {"stats": _taken(attach, "stats")}
        self._bell = _taken(attach, "bell")
        self._queue = _queue_id(body.get("queue_key"))
        self._semaphore = _semaphore_id(body.get("sync_key"))
        descriptors = Descriptors(
            self._bell,
            channel.fileno(),
            signals,
            self._queue,
        )
        self.forwarder = Forwarder(
            self.plan, self.index, int(body["instance_id"]), self.fds["stats"], descriptors
        )
        drop_rights(0)  # again, whoever forked us: a worker needs no right any more
        # From here on it opens nothing by name: what it needs comes over the channel, and every
        # module is loaded. The last thing it gives up.
        self.guarded = guard_calls(WORKER_CALLS, self.plan.process.seccomp)
        self._link = Link(
            channel,
            self.names.supervisor_socket,
            take=self._handle,
            moved=self.forwarder.set_channel,
            hello=lambda: (self._hello(again=True), self.fds),
            timeout=lambda: self.plan.orphan_timeout,
        )
        self._link.send(self._hello(again=False))
        for port in body.get("ports", []):
            self._take_over(PortRings.from_json(port), attach)
        self._first_fib(attach)
        attach.close()
        log("info", "worker.start", index=self.index, ports=len(self.ports), fib=self.ready)

    def _pin(self) -> None:
        cpus = self.plan.workers.cpus
        if cpus:
            self._run_on({cpus[self.index % len(cpus)]})

    def _run_on(self, cpus: set[int]) -> None:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            log("warning", "worker.pin", cpu=min(cpus), error=error.strerror)

    def loop(self) -> None:
        """Until an orderly stop."""
        while not self.stopping:
            wake = self.forwarder.run(self._deadline())
            if wake.signal:
                self._stop("SIGTERM")
            if wake.channel:
                self._link.serve()
            if not self._link.look():
                self._stop("orphan_timeout")
            if self._draining is not None:
                self._look_whether_drained()
        self.forwarder.stop()
        log("info", "worker.stop", index=self.index)
        self.forwarder.close()

    def _deadline(self) -> float | None:
        """When the loop has to come back by itself."""
        found = self._link.deadline()
        deadlines = [] if found is None else [found]
        if self._draining is not None:
            deadlines.append(time.monotonic() + DRAIN_LOOK)
        return min(deadlines, default=None)

    # ---- the channel ----

    def _handle(self, message: Message) -> None:
        handler = self._handlers.get(message.type)
        try:
            if handler is None:
                self.unknown += 1
                log("warning", "message.unknown", type=message.type, count=self.unknown)
            else:
                handler(message)
        except (RibcageError, KeyError, TypeError, ValueError, OverflowError) as error:
            log("error", "message.failed", type=message.type, error=str(error)[:200])
            self.forwarder.report_fault(lib.WORKER_FAULT_MESSAGE)
        finally:
            message.close()

    def _hello(self, again: bool) -> dict[str, object]:
        return {
            "type": HELLO,
            "role": "worker",
            "index": self.index,
            "pid": os.getpid(),
            "instance": self.names.instance,
            "version": VERSION,
            "protocol": ours().to_json(),
            "again": again,
            "ports": [port.to_json() for port in self.ports.values()] if again else [],
        }

    # ---- what it may be told ----

    def _welcome(self, message: Message) -> None:
        """A supervisor of another build: what both speak from now on."""
        theirs = Speaks.of(message.body)
        self._link.speak(agree(ours(), theirs))
        log("info", "supervisor.build", build=theirs.build)

    def _first_fib(self, attach: Message) -> None:
        """One that cannot be used is no reason to die: the successor would get the same one."""
        try:
            self._take_fib(attach)
        except RibcageError as error:
            log("error", "fib.refused", code=error.code, error=error.message)
            self.forwarder.report_fault(lib.WORKER_FAULT_MESSAGE)

    def _take_fib(self, message: Message) -> None:
        fd = message.take("fib")
        if fd is None:
            return
        sync = message.take("sync")
        try:
            self.forwarder.set_fib(fd, -1 if sync is None else sync, self._semaphore)
        except BaseException as error:
            for taken in (fd, sync):
                if taken is not None:
                    os.close(taken)
            # Control is told by way of the supervisor, and makes another.
            self._link.send({"type": "fib-refused", "why": str(error)[:200]})
            raise
        self._keep("fib", fd)
        if sync is not None:
            self._keep("sync", sync)
        self._say_ready()

    def _say_ready(self) -> None:
        """It has a FIB. Without its queue it forwards what it can, and tells of nothing."""
        if self._queue < 0:
            self._link.send({"type": "not-ready", "why": "the event queue cannot be opened"})
            return
        self.ready = True
        self.forwarder.report_ready()
        self._link.send({"type": "ready", "generation": self.forwarder.generation})

    def _take_over(self, port: PortRings, attach: Message) -> None:
        """What the slot had. It would end likewise each time: who made the socket makes another."""
        try:
            self._add_port(port, attach)
        except RibcageError as error:
            log("error", "port.unmappable", index=port.index, name=port.name, error=str(error))
            raise SystemExit(UNMAPPABLE) from error

    def _take_bell(self, message: Message) -> None:
        """Another pair: the supervisor has it from the one that adopted us, or control's end died
        with everybody who had it."""
        bell = _taken(message, "bell")
        self.forwarder.set_bell(bell)
        os.close(self._bell)
        self._bell = bell

    def _use_queue(self, key: object) -> None:
        """The event queue was removed by somebody, or spoilt: this is the new one."""
        self._queue = _queue_id(key)
        self.forwarder.set_queue(self._queue)
        if "fib" in self.fds and not self.ready:
            self._say_ready()

    def _keep(self, name: str, fd: int) -> None:
        """To be handed back to a supervisor's successor."""
        old = self.fds.pop(name, None)
        if old is not None:
            os.close(old)
        self.fds[name] = fd

    def _port_add(self, message: Message) -> None:
        self._add_port(PortRings.from_json(message.body), message)

    def _add_port(self, port: PortRings, message: Message) -> None:
        index = port.index
        fd = message.take(f"ring:{index}")
        if fd is None:
            raise RibcageError("E_PORT", f"port {index} came without its ring")
        if index in self.ports:
            self._drop_port(index)
        # Two copies of one socket: the C side's, and ours for a supervisor's successor.
        copy = os.dup(fd)
        try:
            self.forwarder.add_port(index, fd, port.kind, port.slots, port.slot_bytes)
        except BaseException:
            os.close(copy)
            raise
        self.fds[f"ring:{index}"] = copy
        self.ports[index] = port
        log("info", "port.add", index=index, name=port.name)

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
        self._link.send({"type": "done", "id": message.body.get("id")})

    def _plan(self, message: Message) -> None:
        """A reload: the limits that can change while packets flow, as a successor would have."""
        before, self.plan = self.plan, Plan.from_json(message.body["plan"])
        self.forwarder.reconfigure(self.plan)
        if before.workers.cpus != self.plan.workers.cpus:
            self._run_on(set(range(CPUS)))
            self._pin()
        log("info", "worker.plan", batch=self.plan.workers.batch, icmp=self.plan.icmp.rate)

    def _drain(self, message: Message) -> None:
        """`done` is said once rings and hold queue are empty: for `quiet` seconds, where senders
        were steered away; with 0, at the first moment at which no packet is here. With `stop` that
        is our end: what comes from then on finds our successor on the same rings."""
        quiet, limit = message.body.get("quiet", DRAIN_QUIET), message.body.get("limit")
        end = time.monotonic() + float(DRAIN_SECONDS if limit is None else limit)
        stop = message.body.get("stop") is True
        self._draining = (message.body.get("id"), end, float(quiet), stop)

    def _look_whether_drained(self) -> None:
        assert self._draining is not None
        number, end, quiet, stop = self._draining
        if self.forwarder.drained(quiet) or time.monotonic() >= end:
            self._draining = None
            rings = read_positions(self.fds["stats"]) if stop else {}
            self._link.send({"type": "done", "id": number, "rings": rings})
            if stop:
                self._stop("drained")

    def _fault(self, message: Message) -> None:
        kind = str(message.body.get("kind"))
        if self.plan.teach:
            log("warning", "fault", kind=kind[:32])
            if kind in TRIALS:
                log("warning", "fault.tried", kind=kind, answer=try_call(kind))
                return
            self.forwarder.fault(kind)

    def _stop(self, cause: str) -> None:
        if not self.stopping:
            log("info", "worker.stopping", cause=cause)
        self.stopping = True


def _taken(attach: Message, name: str) -> int:
    fd = attach.take(name)
    if fd is None:
        raise RibcageError("E_WORKER", f"attach came without the descriptor {name}")
    return fd


def _queue_id(key: object) -> int:
    """The SysV queue of this key, -1 when there is none: events are lost and counted then."""
    if not isinstance(key, int):
        return -1
    try:
        # Asked for writing alone: a worker's user has no right to read, and a queue that is opened
        # for more than it grants is not opened at all.
        return int(sysv_ipc.MessageQueue(key, mode=0o200).id)
    except (sysv_ipc.Error, OSError, ValueError) as error:
        log("warning", "queue.open", key=key, error=str(error))
        return -1


def _semaphore_id(key: object) -> int:
    """The semaphore set that the strategy locks with; -1 where it has none."""
    return open_semaphore(key) if isinstance(key, int) else -1
