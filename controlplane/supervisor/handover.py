"""Sends the children what they need: attach, promote, port-add, fib, workers.

One direction only, supervisor to child. Every send is posted: a child that does not read now
gets it later, in order; one that does not read 256 messages is hung and is killed.
"""

import os
from typing import Any

from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.loop import READ, WRITE
from ribcage.controlplane.supervisor.resources.folders import mend_folders
from ribcage.controlplane.supervisor.resources.segments import mend_objects
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_sync import WITH_SEGMENT
from ribcage.shared.process.log import log
from ribcage.shared.process.message import ChannelClosed, ChannelError
from ribcage.shared.process.port_rings import PortRings
from ribcage.shared.protocol import Speaks, agree, ours


class Handover:
    """Messages to children."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._told: list[dict[str, Any]] = []

    def post(
        self, child: Child, message: dict[str, Any], fds: dict[str, int] | None = None
    ) -> None:
        """To a child with a channel; nothing for one without (dead, or not adopted yet)."""
        if child.channel is None:
            return
        try:
            child.channel.post(message, fds)
        except ChannelClosed:
            return  # its death is reported by the reading side
        except ChannelError as error:
            log("error", "child.hung", child=child.name, pid=child.pid, error=str(error))
            child.kill()
            return
        self.flush(child)

    def flush(self, child: Child) -> None:
        """Sends what waits; asks for write readiness only while something does."""
        if child.channel is not None:
            try:
                done = child.channel.flush()
            except ChannelError:
                done = True  # gone: its end arrives on the reading side
            fd = child.channel.fileno()
            if self.context.loop.watches(fd):  # else it rests: floods.py
                self.context.loop.events(fd, READ if done else READ | WRITE)

    def meet(self, child: Child, theirs: Speaks) -> None:
        """A child has said what it speaks. Another build is told what both do; E_BUILDS."""
        version = agree(ours(), theirs)
        child.speaks = theirs
        if child.channel is not None and theirs != ours():
            child.channel.version = version
            if theirs.minor > 0 or theirs.high > 1:  # else it has no name for a welcome
                self.post(child, {"type": "welcome", "protocol": ours().to_json()})

    # ---- workers ----

    def _common(self, index: int) -> dict[str, Any]:
        context = self.context
        return {
            "instance_id": context.objects.state.instance_id,
            "names": context.names.to_json(),
            "queue_key": context.objects.state.queue_key,
            "queue_bytes": context.objects.state.queue_bytes,
            "semaphore": context.objects.state.semaphore,
            "sync_key": context.objects.state.sync_key or None,
            "index": index,
            "workers": len(context.workers),
            "fib": context.fib.to_json() if context.fib else None,
        }

    def attach_worker(self, child: Child) -> None:
        """Everything a worker needs, in one message; what the slot had, it gets again."""
        context = self.context
        context.bells.renew(child.index)
        fds = {
            "stats": context.objects.stats_fd(child.index),
            "bell": context.bells.for_worker(child.index),
        }
        if context.fib is not None and self._whole():
            fds |= context.fib.fds()
            child.took_fib(context.fib.fd)
        ports = []
        for port in context.ports.known.values():
            ring = context.ports.ring(port.index, child.index)
            if ring is not None:
                fds[f"ring:{port.index}"] = ring
                ports.append(port.to_json())
                child.has_ports.add(port.index)
        plan = context.settings.for_worker()
        body = {"type": "attach", "plan": plan, "ports": ports, **self._common(child.index)}
        self.post(child, body, fds)

    def send_bell(self, child: Child) -> None:
        """To a worker that was adopted: control's end of the pair it had died with the supervisor,
        or with control."""
        bells = self.context.bells
        bells.renew(child.index)
        self.post(child, {"type": "bell"}, {"bell": bells.for_worker(child.index)})

    def send_queue(self) -> None:
        """The event queue was made anew: to everybody who uses it."""
        state = self.context.objects.state
        body = {"type": "queue", "queue_key": state.queue_key, "queue_bytes": state.queue_bytes}
        for child in [self.context.table.control, *self.context.workers]:
            self.post(child, body)

    def _whole(self) -> bool:
        """Whether the FIB is as long as it was: a worker that maps one cut short dies of SIGBUS,
        and so would each successor. Control is told, and makes another."""
        fib = self.context.fib
        if fib is None or os.fstat(fib.fd).st_size >= fib.size:
            return True
        log("error", "fib.cut-short", name=fib.name, size=fib.size)
        self.look_at_fib()
        return False

    def look_at_fib(self) -> None:
        """Control looks at once what became of its FIB."""
        self.post(self.context.table.control, {"type": "fib-look"})

    def send_fib(self, child: Child) -> None:
        fib = self.context.fib
        if fib is not None and child.channel is not None and self._whole():
            child.took_fib(fib.fd)
            self.post(child, {"type": "fib", **fib.to_json()}, fib.fds())

    def send_port(self, child: Child, port: PortRings) -> None:
        """port-add, unless the worker has it."""
        ring = self.context.ports.ring(port.index, child.index)
        if ring is None or port.index in child.has_ports or child.channel is None:
            return
        child.has_ports.add(port.index)
        self.post(child, {"type": "port-add", **port.to_json()}, {f"ring:{port.index}": ring})

    def take_port(self, child: Child, index: int) -> None:
        if index in child.has_ports:
            child.has_ports.discard(index)
            self.post(child, {"type": "port-del", "index": index})

    # ---- control ----

    def _add_bell(self, fds: dict[str, int], index: int) -> None:
        """Control does without a bell that cannot be made: it looks by itself, a little later."""
        try:
            fds[f"bell:{index}"] = self.context.bells.for_control(index)
        except OSError as error:
            log("error", "bell.failed", index=index, error=str(error))

    def mend_tables(self) -> None:
        """What stands at the names of control's objects, and is not control's to remove."""
        context = self.context
        if context.objects.state.ready:
            fib = -1 if context.fib is None else context.fib.fd
            mend_objects(context.names, context.control_uid, fib)

    def attach_control(self, child: Child, kind: str = "attach") -> None:
        """`attach` or `promote`: bells and, read-only, the stats objects of all workers, those
        that a reload gave up included."""
        context = self.context
        mend_folders(context.names, context.users, context.plan.management)
        self.mend_tables()
        fds: dict[str, int] = {}
        opened = []
        wanted = {f"stats:{worker.index}": worker.index for worker in context.workers}
        wanted |= {f"resting:{i}": i for i in context.objects.resting(len(context.workers))}
        if context.plan.fib.sync in WITH_SEGMENT:
            fds["sync"] = context.objects.sync_fd()
        for worker in context.workers:
            self._add_bell(fds, worker.index)
        if context.fib is not None:
            fds["fib"] = context.fib.fd  # should its name be gone, this is what is left of it
        for name, index in wanted.items():
            try:
                fds[name] = context.objects.stats_readonly(index)
            except (OSError, RibcageError) as error:  # control does without this one's counters
                log("error", "stats.absent", index=index, error=str(error))
            else:
                opened.append(fds[name])
        ports = [port.to_json() for port in context.ports.known.values()]
        plan = context.settings.for_control()
        body = {"type": kind, "plan": plan, "ports": ports, **self._common(0)}
        self.post(child, {**body, "plan_id": context.plan_id}, fds)
        for fd in opened:
            os.close(fd)
        self._told = []
        self.tell_workers()

    def tell_workers(self, new: tuple[int, ...] = ()) -> None:
        """The state of all workers, when it changed. `new` slots bring their bell and stats."""
        context = self.context
        rows = [worker.brief() for worker in context.workers]
        if (rows == self._told and not new) or context.table.control.channel is None:
            return
        self._told = rows
        fds: dict[str, int] = {}
        opened: list[int] = []
        for index in new:
            self._add_bell(fds, index)
            try:
                opened.append(context.objects.stats_readonly(index))
            except (OSError, RibcageError) as error:
                log("error", "stats.absent", index=index, error=str(error))
            else:
                fds[f"stats:{index}"] = opened[-1]
        self.post(context.table.control, {"type": "workers", "workers": rows}, fds)
        for fd in opened:
            os.close(fd)
