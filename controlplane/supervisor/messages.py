"""Handles the messages of children: one method a type. Each message is checked first.

A message that is malformed, unknown or not this child's to send is counted, logged and ignored;
it never raises. Control may ask for ports, `ps`, faults, stop and reload; workers only report.
"""

import fcntl
import os
import time
from collections.abc import Callable
from typing import Any

import sysv_ipc

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.floods import Floods
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.children.watchdog import Watchdog
from ribcage.controlplane.supervisor.context import Context, Fib
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.resources.shm import open_shm
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_sync import WITH_SEGMENT
from ribcage.shared.process import proc
from ribcage.shared.process.budget import Budget
from ribcage.shared.process.log import log
from ribcage.shared.process.message import ChannelClosed, ChannelError, Message
from ribcage.shared.process.port_rings import PortRings
from ribcage.shared.protocol import Speaks, ours

Verdict = Callable[[str | None], None]  # an error's words, or None
PER_TURN = 64  # messages of one child before the others have their turn


class Messages:
    """Dispatch. `on_stop` and `on_reload(request, answer)` are control's requests;
    `on_progress` is called when readiness may have changed."""

    def __init__(
        self,
        context: Context,
        handover: Handover,
        lifecycle: Lifecycle,
        *,
        on_stop: Callable[[], None],
        on_reload: Callable[[dict[str, Any], Verdict], None],
        on_progress: Callable[[], None],
        guardian_row: Callable[[], dict[str, object] | None] = lambda: None,
    ) -> None:
        self.context = context
        self.guardian_row = guardian_row
        self.handover = handover
        self.lifecycle = lifecycle
        self.watchdog = Watchdog(context, handover)
        self.refused = 0
        self.unknown = 0  # of newer builds: left out
        self.on_stop = on_stop
        self.on_reload = on_reload
        self.on_progress = on_progress
        self.floods = Floods(context)
        # Ids we await a `done` for, and whose: another child must not answer in its place.
        self.waiting: dict[int, tuple[Child, Verdict]] = {}
        self.next_id = 0
        self._queues = Budget(rate=1.0, burst=3.0)  # made anew, a second
        self.handlers: dict[str, tuple[str, Callable[[Child, Message], None]]] = {
            "hello": ("any", self._hello),
            "ready": ("any", self._ready),
            "done": ("any", self._done),
            "failed": ("any", self._failed),
            "pong": ("any", self.watchdog.answered),
            "progress": ("control", self._progress),
            "fib-ready": ("control", self._fib_ready),
            "fib-refused": ("worker", self._fib_refused),
            "port-open": ("control", self._port_open),
            "port-close": ("control", self._port_close),
            "ps-request": ("control", self._ps),
            "not-ready": ("worker", self._not_ready),
            "fault-request": ("control", self._fault),
            "stop-request": ("control", self._stop),
            "reload-request": ("control", self._reload),
            "queue-lost": ("control", self._queue_lost),
        }

    def serve(self, child: Child) -> None:
        """Reads what a child has sent; flushes what waits for it."""
        self.handover.flush(child)
        for _ in range(PER_TURN):
            if child.channel is None or not self.floods.admit(child, time.monotonic()):
                return
            try:
                message = child.channel.recv()
            except ChannelClosed:
                self.lifecycle.hang_up(child)
                return
            except ChannelError as error:
                self._refuse(child, str(error))
                continue
            if message is None:
                return
            self._handle(child, message)

    def _handle(self, child: Child, message: Message) -> None:
        try:
            role, handler = self.handlers.get(message.type, ("", None))
            if handler is None and child.speaks.newer_than(ours()):
                self.unknown += 1
                log("info", "message.unknown", child=child.name, type=message.type,
                    count=self.unknown)  # fmt: skip
            elif handler is None:
                self._refuse(child, f"unknown type {message.type}")
            elif role not in ("any", child.role):
                self._refuse(child, f"{message.type} is not for a {child.role} to say")
            else:
                handler(child, message)
        except RibcageError as error:
            self._refuse(child, str(error))
        finally:
            message.close()

    def _refuse(self, child: Child, why: str) -> None:
        self.refused += 1
        if self.floods.line(child, time.monotonic()):
            log("warning", "message.refused", child=child.name, child_pid=child.pid,
                why=why[:200])  # fmt: skip

    def ask(self, child: Child, message: dict[str, Any], answer: Verdict) -> None:
        """Posts a message with an id; `answer(error or None)` runs when its `done` comes."""
        self.handover.post(child, {**message, "id": self.expect(child, answer)})

    def expect(self, child: Child, answer: Verdict) -> int:
        """An id whose `done` is answered by `answer(error or None)`, said by whoever is in this
        child's slot then."""
        self.next_id += 1
        self.waiting[self.next_id] = child, answer
        return self.next_id

    # ---- anybody ----

    def _hello(self, child: Child, message: Message) -> None:
        if message.body.get("pid") != child.pid:
            raise RibcageError("E_HELLO", f"hello of pid {message.body.get('pid')!r:.20}")
        self.handover.meet(child, Speaks.of(message.body))

    def _ready(self, child: Child, message: Message) -> None:
        if child.state != "starting":
            return
        child.cancel_timer()
        child.became_ready()
        log("info", "child.ready", child=child.name, child_pid=child.pid,
            ms=round((time.monotonic_ns() - child.started_ns) / 1e6, 1))  # fmt: skip
        if child.role == "control":
            self.lifecycle.standby_later()
        elif child.role == "standby":
            self.lifecycle.standby_ready()
        self.handover.tell_workers()
        self.lifecycle.share_frames()
        self.on_progress()

    def _not_ready(self, child: Child, message: Message) -> None:
        """It has a FIB and cannot do its work: the deadline of a start goes on running."""
        log("error", "child.not_ready", child=child.name, child_pid=child.pid,
            why=str(message.body.get("why"))[:200])  # fmt: skip

    def _done(self, child: Child, message: Message) -> None:
        number = _id(message)
        asked, answer = self.waiting.get(number, (None, None))
        if answer is None:
            return
        if asked is not child:
            raise RibcageError("E_CHANNEL", f"done {number!r:.20} is not for {child.name} to say")
        del self.waiting[number]
        rings = message.body.get("rings")
        if child.role == "worker" and isinstance(rings, dict):
            child.rings = rings
        error = message.body.get("error")
        answer(None if error is None else str(error))

    def _failed(self, child: Child, message: Message) -> None:
        """Its last words: why it could not begin. No retry heals some of it."""
        if child.state != "starting":
            raise RibcageError("E_CHANNEL", f"{child.name} says it cannot begin, and has begun")
        body = message.body
        status = body.get("exit")
        error = RibcageError.from_json(body, status if isinstance(status, int) else Exit.INTERNAL)
        log("error", "child.cannot", child=child.name, code=error.code, why=error.message[:500])
        self.context.beginning.failed(error)

    # ---- control ----

    def _progress(self, child: Child, message: Message) -> None:
        """One step of its start is done, or a part of a long one: the deadline begins anew."""
        if child.state == "starting":
            child.cancel_timer()
            self.lifecycle.expect_ready(child)

    def _fib_ready(self, child: Child, message: Message) -> None:
        name, ours = message.body.get("name"), self.context.names.fib
        if name != ours:
            raise RibcageError("E_FIB", f"fib {name!r:.60}, this instance has {ours}")
        self.open_fib()

    def _fib_refused(self, child: Child, message: Message) -> None:
        """A worker cannot use the FIB it was handed: it waits for another, and control makes it."""
        log("error", "fib.refused", child=child.name, why=str(message.body.get("why"))[:200])
        child.has_fib = False
        child.cancel_timer()
        self.handover.look_at_fib()

    def _sync(self) -> int:
        """A copy of the lock words, -1 where there are none."""
        if self.context.settings.plan.fib.sync not in WITH_SEGMENT:
            return -1
        return fcntl.fcntl(self.context.objects.sync_fd(), fcntl.F_DUPFD_CLOEXEC, 0)

    def open_fib(self) -> None:
        """Opens the segment read-only and hands it to the workers, unless they have it."""
        context = self.context
        try:
            fd = open_shm(context.names.fib, owner=context.control_uid)
        except OSError as error:
            log("warning", "fib.absent", name=context.names.fib, error=error.strerror)
            return
        new = Fib(context.names.fib, os.fstat(fd).st_size, fd, self._sync())
        old = context.fib
        if old is not None and old.same(new):
            new.close()  # the next control took the same segment over: nobody need know
            return
        if old is not None:
            old.close()
        context.fib = new
        for worker in context.workers:
            if (old is not None or not worker.holds(fd)) and context.reads_ours(worker):
                self.handover.send_fib(worker)
            self.lifecycle.expect_ready(worker)
        log("info", "fib.ready", size=new.size)

    def _port_open(self, child: Child, message: Message) -> None:
        context = self.context
        index = message.body.get("index")
        try:
            port = PortRings.from_json(message.body)
            known = context.ports.known.get(port.index)
            if known is not None and known != port:
                self.close_port(port.index)  # another interface, or other rings
            new = context.ports.open(port, len(context.workers))
        except (RibcageError, OSError) as error:
            if isinstance(error, RibcageError):
                self.context.beginning.failed(error)
            text = error.message if isinstance(error, RibcageError) else str(error)
            log("error", "port.open", index=str(index)[:20], error=text)
            self.handover.post(
                child, {"type": "port-opened", "index": index, "ok": False, "error": text}
            )
            return
        for worker in context.workers:
            self.handover.send_port(worker, port)
        if new:
            log("info", "port.open", index=port.index, name=port.name, ifindex=port.ifindex)
            context.save()  # what a stored ring is of
        self.handover.post(child, {"type": "port-opened", "index": port.index, "ok": True})
        self.lifecycle.share_frames()
        self.on_progress()

    def complete_port(self, port: PortRings) -> None:
        """Opens what is missing of a known port, for the present number of workers. One whose
        sockets are not in order cannot be steered: all are made anew (a worker and the supervisor
        were killed at once)."""
        if self.context.ports.in_order(port.index, len(self.context.workers)):
            self.lifecycle.complete_port(port)
        else:
            self.lifecycle.renew_port(port.index)

    def _port_close(self, child: Child, message: Message) -> None:
        index = message.body.get("index")
        if type(index) is int:
            self.close_port(index)

    def close_port(self, index: int) -> None:
        """Workers let go first: each holds a copy of the socket."""
        for worker in self.context.workers:
            self.handover.take_port(worker, index)
        if self.context.ports.close(index):
            log("info", "port.close", index=index)
            self.context.save()

    def _ps(self, child: Child, message: Message) -> None:
        rows = [*self.watchers(), *self.context.table.rows()]
        for row in rows if message.body.get("look") is True else ():
            row |= proc.look(row["pid"], self.context.names.instance)
        self.handover.post(child, {"type": "ps", "id": _id(message), "processes": rows})

    def watchers(self) -> list[dict[str, Any]]:
        """The guardian, if there is one, and the supervisor."""
        guardian = self.guardian_row()
        return [*([guardian] if guardian is not None else []), self.supervisor_row()]

    def supervisor_row(self) -> dict[str, Any]:
        context = self.context
        return processes.own_row(context.phase, context.restarts, context.started_ns, ours().build)

    def _fault(self, child: Child, message: Message) -> None:
        reply: dict[str, Any] = {"type": "done", "id": _id(message)}
        index, kind = message.body.get("worker"), message.body.get("kind")
        worker = self.context.table.slot("worker", index)
        if not self.context.plan.teach:
            reply["error"] = "faults are for routers started with --teach"
        elif worker is None or not worker.running or not isinstance(kind, str):
            reply["error"] = f"worker {index!r:.20} does not run"
        else:
            log("warning", "fault.asked", child=worker.name, kind=kind[:32])
            self.handover.post(worker, {"type": "fault", "kind": kind[:32]})
        self.handover.post(child, reply)

    def _queue_lost(self, child: Child, message: Message) -> None:
        """Control says so, we look: one that is as it should be stays."""
        if not self._queues.take(time.monotonic()):
            return  # it is asked for again
        try:
            wrong = self.context.objects.renew_queue()
        except (OSError, RibcageError, sysv_ipc.Error) as error:
            log("error", "queue.failed", error=str(error))
            return
        if wrong is not None:
            log("warning", "queue.renewed", why=wrong)
        self.handover.send_queue()

    def _stop(self, child: Child, message: Message) -> None:
        log("info", "stop.asked", by="management")
        self.on_stop()

    def _reload(self, child: Child, message: Message) -> None:
        """Answered when the plan is in force or is not; by a control that died, to nobody."""
        pid, number = child.pid, _id(message)

        def answer(error: str | None) -> None:
            if child.pid == pid and number is not None:
                body = {"type": "done", "id": number}
                self.handover.post(child, body if error is None else {**body, "error": error})

        self.on_reload(message.body, answer)


def _id(message: Message) -> Any:
    number = message.body.get("id")
    return number if isinstance(number, int | str) else None
