"""Running: the tables are ours. Clients are served, the kernel and the workers are heard.

    begin    take over -> fib-ready, management, ready (a takeover) -> kernel: links, addresses,
             neighbours -> sources again, mark and sweep -> ready (a fresh start), or verify.
             A RIB that came from the FIB is shown once its routes have their sources
    reload   configuring.py: one plan after the other, the newest wins
    stop     clients first, the checkpoint, the kernel, then the segments are let go

All parts are made in the constructor and know each other from then on; none of them does anything
before `begin`. Two circles go through this object: a publish is followed by housekeeping, which may
publish, and the kernel's events go to the links, which ask the kernel.
"""

import time
from collections.abc import Mapping
from typing import Any

from ribcage.controlplane.kernel.events import KernelEvent
from ribcage.controlplane.kernel.kernel import Kernel
from ribcage.controlplane.management.methods.table import serve
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import ManagementServer
from ribcage.controlplane.process.configuring import Configuring
from ribcage.controlplane.process.dump import Dumps
from ribcage.controlplane.process.state import ControlContext, ControlState
from ribcage.controlplane.process.supervisor_link import hello
from ribcage.controlplane.process.tables.checkpoints import Checkpoints
from ribcage.controlplane.process.tables.healing import Healing
from ribcage.controlplane.process.tables.housekeeping import Housekeeping
from ribcage.controlplane.process.tables.segments import Segments
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.links import Links
from ribcage.controlplane.routes.loads import Loads
from ribcage.controlplane.routes.recovered import any_recovered, give_back
from ribcage.controlplane.routes.requests import RouteRequests
from ribcage.controlplane.workers.events import WorkerEvents
from ribcage.shared.plan import Plan
from ribcage.shared.process.events import QueueName
from ribcage.shared.process.names import Names


class Running(ControlState):
    """See the module's text. `queue` is the workers' event queue, `number` the supervisor's for
    this plan, `ports` the indices by which it has ports open."""

    def __init__(
        self,
        context: ControlContext,
        plan: Plan,
        names: Names,
        instance_id: int,
        segments: Segments,
        queue: QueueName | None,
        number: object,
        ports: Mapping[str, int],
    ) -> None:
        super().__init__(context)
        self.messages = {
            "ports-request": lambda message: self._links.tell_ports(),
            "reload": lambda message: self._configuring.reload(message.body),
            "run-dir": lambda message: self._run_dir_again(),
            "dump": lambda message: context.tasks.spawn(self._dumps.write(), "dump"),
            "queue": lambda message: self._events.renew(QueueName.from_json(message.body)),
            "fib-look": lambda message: self._healing.look(),
        }
        log, say = context.log, context.link.say
        self._names = names
        self._instance_id = instance_id
        self._segments = segments
        self._ports = ports
        self._takeover: dict[str, Any] = {}
        self._core = Core(
            plan,
            segments.rib,
            segments.fib,
            segments.reader,
            bells=context.workers.ring,
            on_publish=self._published,
            log=log,
        )
        self._kernel = Kernel(
            instance=names.instance,
            undo_file=names.undo_file,
            on_event=self._kernel_event,
            max_neighbours=plan.neighbours.max,
            log=log,
        )
        self._links = Links(self._core, self._kernel, say, log)
        neighbours = self._links.neighbours
        self._housekeeping = Housekeeping(
            self._core, self._links.manage_gateways, neighbours.probe_hosts
        )
        self._healing = Healing(
            names, segments, self._core, context.workers, say, context.fail, log
        )
        self._events = WorkerEvents(
            context.workers, queue, neighbours.miss, context.counters, log, say
        )
        self._checkpoints = Checkpoints(
            names, instance_id, self._core, context.tasks, self._progress, log
        )
        requests = RouteRequests(self._core, context.workers.watches)
        router = RouterView(
            core=self._core,
            names=names,
            instance_id=instance_id,
            workers=context.workers,
            events=self._events,
            requests=requests,
            loads=Loads(self._core, requests.finish),
            say=say,
            ask=context.link.ask,
            report=lambda: self._configuring.report(),
            checkpoint=self._checkpoints.write,
            facts=self._facts,
        )
        self._dumps = Dumps(names.control_dump, router, log)
        self._server = ManagementServer(
            names.control_socket, plan.management, serve(router), log=log
        )
        self._configuring = Configuring(
            self._core, self._kernel, self._links, self._server.limit, context.tasks, say, log,
            number,
        )  # fmt: skip

    def _published(self) -> None:
        self._housekeeping.published()

    def _kernel_event(self, event: KernelEvent) -> None:
        self._links.hear(event)

    # -- beginning

    async def begin(self, start: int) -> None:
        """`start`: when the attach message came, in monotonic ns. Raises what cannot be mended."""
        segments = self._segments
        fresh = segments.fresh
        self._checkpoints.begin(fresh)
        taken = self._core.takeover(segments.fib_is_new, self._ports)
        # Workers go on with the FIB they have until a new one knows links and neighbours.
        late = segments.fib_is_new and segments.lent
        if not late:
            self._fib_ready()
        # Nobody is told of a table whose routes have no owner yet: they would seem forgotten.
        nameless = any_recovered(self._core.rib)
        if not nameless:
            await self._server.start()
        self._takeover = {
            "fresh": fresh,
            "routes": segments.rib.counts().rows,
            "replayed": taken.replayed,
            "everything": taken.everything,
            "ms": round((time.monotonic_ns() - start) / 1e6, 3),
        }
        self.context.log("info", "takeover.done", **self._takeover)
        early = not (fresh or late or nameless)
        if early:
            self._ready()
        self._events.listen()
        self._housekeeping.published()  # a takeover may find everything published
        self._progress()
        await self._configuring.begin()
        await self._links_heard()
        if nameless:
            await self._server.start()
        self._progress()
        await self._checkpoints.restore()
        if late:
            self._fib_ready()
        if not early:
            self._ready()
        if not fresh and not late:
            self.context.tasks.spawn(self._healing.check(), "verify")
        self._checkpoints.watch()
        self._healing.begin()

    async def _links_heard(self) -> None:
        """Every source has announced its own: what came from the FIB and nobody wants is sorted."""
        self._core.links_known()
        if any_recovered(self._core.rib):
            kept, gone = await give_back(self._core.rib, self._core.publisher)
            self.context.log("warning", "rib.recovered", added=kept, gone=gone)

    def _progress(self) -> None:
        self.context.link.say({"type": "progress"})

    def _fib_ready(self) -> None:
        self.context.link.say({"type": "fib-ready", "name": self._names.fib,
                               "size": self._segments.fib.writer.mapped.size,
                               "instance_id": self._instance_id})  # fmt: skip

    def _ready(self) -> None:
        self.context.link.say({"type": "ready", "generation": self._core.publisher.generation})

    # -- the supervisor

    def worker_died(self) -> None:
        """One that died may have held the strategy's lock; others then wait in vain."""
        self._core.fib.writer.break_lock()

    def supervisor_gone(self) -> None:
        """Everything goes on; a successor is looked for."""
        context, timeout = self.context, self._core.plan.orphan_timeout
        context.log("warning", "supervisor.gone", orphan_timeout=timeout)
        context.link.find(self._names, timeout, self._hello, lambda: context.finish(True))

    def _hello(self) -> tuple[dict[str, Any], dict[str, int]]:
        return hello("control", self._names.instance, again=True), self.context.workers.kept()

    def _run_dir_again(self) -> None:
        """Somebody removed it, or our socket: that, and the journal, which says what is to be
        undone, are there again."""
        names = self._names
        if not names.undo_file.exists():
            try:
                self._kernel.write_journal()
            except OSError as error:  # the supervisor looks again in a second
                self.context.log("error", "journal.unwritten", why=error.strerror)
        if not names.control_socket.exists():
            self._server.relisten()
            self.context.log("warning", "run_dir.again", path=str(names.run_dir))

    def _facts(self) -> dict[str, Any]:
        """What `ipc show` and `version` tell of this process."""
        link = self.context.link
        return {
            "takeover": self._takeover,
            "counters": {**self.context.counters, **self._links.counters},
            "management": dict(self._server.counters),
            "supervisor": {"connected": link.connected, **link.counters},
            "kernel": self._kernel.counters(),
            "checkpoint": dict(self._checkpoints.facts),
            "healing": self._healing.report(),
        }

    # -- the end

    async def stop(self, undo: bool) -> None:
        """Clients first, then the kernel, then the segments; they stay for whoever comes next."""
        self._housekeeping.close()
        self._healing.close()
        self._events.close()
        await self._server.stop()
        await self.context.tasks.cancel()
        self._core.publisher.flush()
        if undo:
            await self._checkpoints.stop()
        self._checkpoints.close()
        for problem in await (self._kernel.stop() if undo else self._kernel.detach()):
            self.context.log("warning", "kernel.problem", what=problem)
        self._core.publisher.flush()
        self._segments.close()
        self.context.workers.close()
