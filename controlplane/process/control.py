"""The control process: the routing table's owner, and the FIB's only writer.

It may write the RIB and FIB segments, talk netlink, serve the management socket and read worker
events. It may not forward, nor block on a worker, a client or a route source: one asyncio loop
whose every callback is guarded, counted and logged. Its death stops updates, nothing else.

    attach/promote -> own, attach, take over -> fib-ready, management, ready
                   -> kernel: links, addresses, neighbours -> sources again, mark and sweep
                   -> verify in the background            (fresh start: ready comes here)
    stop           -> management closed, kernel settings undone, exit 0
    SIGTERM        -> the same without undoing: the standby goes on

Use: `run_control(channel_fd, standby)` in a forked child. A standby has everything imported and
waits for `promote`, holding no lock and no route.
"""

import asyncio
import signal
import time
from typing import Any

from ribcage.controlplane.kernel.kernel import Kernel
from ribcage.controlplane.management.handlers import Handlers
from ribcage.controlplane.management.server import ManagementServer
from ribcage.controlplane.process.dump import Dumps
from ribcage.controlplane.process.housekeeping import Housekeeping
from ribcage.controlplane.process.logs import make_log
from ribcage.controlplane.process.segments import Segments, open_segments
from ribcage.controlplane.process.supervisor_link import SupervisorLink, hello
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.links import Links
from ribcage.controlplane.workers.events import WorkerEvents
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan, PlanError
from ribcage.shared.process import log as lines
from ribcage.shared.process.channel import Channel, Message
from ribcage.shared.process.events import EventQueue
from ribcage.shared.process.names import Names
from ribcage.shared.process.title import show_as

ADDRESSES_WAIT = 2.0  # at a fresh start, for the kernel to tell the addresses we configured
CANCEL_WAIT = 0.4  # for tasks under way at the stop; the supervisor gives all of it 5 s


def run_control(channel_fd: int, standby: bool = False) -> None:
    """The whole life of a control process or of a standby. SystemExit with a status."""
    raise SystemExit(asyncio.run(ControlProcess(channel_fd, standby).main()))


class ControlProcess:
    """State of the process; `core` and what hangs on it exist once it was attached."""

    core: Core
    names: Names
    segments: Segments
    kernel: Kernel
    links: Links
    server: ManagementServer
    housekeeping: Housekeeping
    dumps: Dumps
    link: SupervisorLink

    def __init__(self, channel_fd: int, standby: bool) -> None:
        self.log = make_log()
        self.standby = standby
        self.instance_id = 0
        self.workers = Workers()
        self.counters = {"events": 0, "events_failed": 0, "unhandled": 0}
        self.events = WorkerEvents(-1, self.counters, self.log)
        self.attached = False
        self.takeover: dict[str, Any] = {}
        self._fd = channel_fd
        self._done: asyncio.Future[bool] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._early: list[list[Any]] = []  # `workers` messages before we are attached

    @property
    def plan(self) -> Plan:
        return self.core.plan

    @property
    def queue(self) -> EventQueue | None:
        return self.events.queue

    # -- life

    async def main(self) -> int:
        """Until an orderly stop; the exit status."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        self._done = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, self._finish, False)
        self.link = SupervisorLink(
            Channel.from_fd(self._fd), self._hear, self._supervisor_gone, self.log
        )
        role = "standby" if self.standby else "control"
        self.link.say(hello(role, "", again=False))
        if self.standby:
            self.link.say({"type": "ready", "generation": 0})  # everything is imported
        try:
            undo = await self._done
            await self._stop(undo)
        except RibcageError as error:
            self.log("error", "control.fatal", code=error.code, why=error.message, hint=error.hint)
            return error.exit_code
        except Exception as error:
            self.log("error", "control.fatal", exc_info=error)
            return int(Exit.INTERNAL)
        finally:
            self.link.close()
        return 0

    def _finish(self, undo: bool) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(undo)

    def _fatal(self, error: BaseException) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback or a task raised: the loop goes on, the log has it."""
        self.counters["unhandled"] += 1
        error = context.get("exception")
        self.log("error", "loop.unhandled", what=str(context.get("message")), exc_info=error)

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the supervisor

    def _hear(self, message: Message) -> None:
        """One message of the supervisor; its descriptors are closed by the caller if left."""
        body = message.body
        match message.type:
            case "attach" | "promote" if not self.attached:
                self.attached = True
                self.workers.attach(message)
                self.events.bell = self._bell(message)
                self._spawn(self._begin_or_fail(body), "begin")
            case "workers":
                self.workers.attach(message)
                rows = body.get("workers")
                if self.workers.states(rows if isinstance(rows, list) else []) and hasattr(
                    self, "core"
                ):
                    # One that died may have held the strategy's lock; others then wait in vain.
                    self.core.fib.writer.break_lock()
            case "ports-request" if hasattr(self, "links"):
                self.links.tell_ports()
            case "port-opened":
                if not body.get("ok"):
                    self.log("error", "port.refused", index=body.get("index"),
                             why=str(body.get("error"))[:200])  # fmt: skip
            case "reload":
                self._spawn(self._reload(body), "reload")
            case "dump" if hasattr(self, "dumps"):
                self._spawn(self.dumps.write(), "dump")
            case "log-level":
                lines.set_level(str(body.get("level")))
            case "log-file":
                lines.write_to(message.fds.get("log", -1))
            case "stop":
                self._finish(True)
            case "ps" | "done":
                pass  # an answer nobody waits for any more
            case _:
                self.log("warning", "channel.unknown", type=message.type)

    def _bell(self, message: Message) -> int:
        fd = message.take("bell-control")
        return -1 if fd is None else fd

    def _supervisor_gone(self) -> None:
        if not self.attached or not hasattr(self, "core"):
            self._finish(False)  # nothing of ours is worth waiting for
            return
        timeout = self.plan.orphan_timeout
        self.log("warning", "supervisor.gone", orphan_timeout=timeout)
        self.link.find(self.names, timeout, self._hello_again, lambda: self._finish(True))

    def _hello_again(self) -> tuple[dict[str, Any], dict[str, int]]:
        fds = self.workers.bells()
        if self.events.bell >= 0:
            fds["bell-control"] = self.events.bell
        return hello("control", self.names.instance, again=True), fds

    def say(self, message: dict[str, Any]) -> None:
        self.link.say(message)

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        return await self.link.ask(message)

    # -- beginning

    async def _begin_or_fail(self, body: dict[str, Any]) -> None:
        try:
            await self._begin(body)
        except Exception as error:
            self._fatal(error)

    async def _begin(self, body: dict[str, Any]) -> None:
        start = time.monotonic_ns()
        try:
            plan = Plan.from_json(body["plan"])
            self.names = Names.from_json(body.get("names"))
            self.instance_id = int(body["instance_id"])
        except (PlanError, KeyError, TypeError, ValueError) as error:
            raise RibcageError("E_ATTACH", f"attach message: {error}") from error
        # A standby becomes control: its log lines and its name in `ps` say so.
        lines.setup("control", plan.log.level, plan.log.format)
        show_as("control", self.names.instance)
        self.segments = await open_segments(
            self.names, plan, self.instance_id, self.log, body.get("sync_key")
        )
        fresh = self.segments.fresh
        self.workers.use(self.segments.fib.writer.born)
        self.core = Core(
            plan,
            self.segments.rib,
            self.segments.fib,
            self.segments.reader,
            bells=self.workers.ring,
            log=self.log,
        )
        taken = self.core.takeover(self.segments.fib_is_new)
        self.housekeeping = Housekeeping(self.core, self.log)
        self.core.publisher.on_publish = self.housekeeping.published
        self.say({"type": "fib-ready", "name": self.names.fib,
                  "size": self.segments.fib.writer.mapped.size,
                  "instance_id": self.instance_id})  # fmt: skip
        handlers = Handlers(self)
        self.dumps = Dumps(self.names.control_dump, handlers.dumped(), self.core, self.log)
        self.server = ManagementServer(
            self.names.control_socket,
            plan.management,
            handlers.methods(),
            log=self.log,
        )
        await self.server.start()
        self.takeover = {
            "fresh": fresh,
            "routes": self.segments.rib.recovery.rows,
            "replayed": taken.replayed,
            "everything": taken.everything,
            "ms": round((time.monotonic_ns() - start) / 1e6, 3),
        }
        self.log("info", "takeover.done", **self.takeover)
        if not fresh:
            self._ready()
        self.events.listen(body.get("queue_key"))
        await self._kernel()
        if fresh:
            self._ready()
        else:
            self._spawn(self.housekeeping.check(), "verify")

    def _ready(self) -> None:
        self.say({"type": "ready", "generation": self.core.publisher.generation})

    async def _kernel(self) -> None:
        """Links, addresses and neighbours; then every source once more."""
        plan = self.plan
        self.kernel = Kernel(
            instance=self.names.instance,
            undo_file=self.names.undo_file,
            on_event=lambda event: self.links.hear(event),
            max_neighbours=plan.neighbours.max,
            log=self.log,
        )
        self.links = Links(self.core, self.kernel, self.say, self.log)
        self.events.on_miss = self.links.neighbours.miss
        self.housekeeping.manage_gateways = self._gateways
        self.housekeeping.probe_hosts = self.links.neighbours.probe_hosts
        self.housekeeping.published()  # a takeover may find everything published
        for problem in await self.kernel.start():
            self.log("warning", "kernel.problem", what=problem)
        await self._configure(plan)
        await self.links.told_addresses(ADDRESSES_WAIT)
        await self.links.sweep()

    def _gateways(self) -> None:
        if self.links.swept:
            self.links.neighbours.manage_gateways()

    async def _configure(self, plan: Plan) -> None:
        for problem in await self.kernel.configure(plan.interfaces, plan.router_id):
            self.log("warning", "kernel.problem", what=problem)

    # -- reload and stop

    async def _reload(self, body: dict[str, Any]) -> None:
        """A new plan: interfaces, routes, limits that can change while running."""
        answer: dict[str, Any] = {"type": "done", "id": body.get("id")}
        try:
            plan = Plan.from_json(body["plan"])
            self.core.plan = plan  # the supervisor kept what cannot change
            self.server.limit(plan.management)
            self.kernel.limit(plan.neighbours.max)
            self.core.publisher.max_delay_ns = int(plan.fib.max_delay * 1e9)
            self.core.publisher.max_batch = plan.fib.max_batch
            self.segments.rib.limit(4, plan.neighbours.max)
            await self._aggregate(plan.fib.aggregate)
            await self._configure(plan)
            self.links.replan()
            await self.links.synced()
            self.log("info", "reload.done", routes=len(plan.routes),
                     rejected=len(self.core.rejections.all()))  # fmt: skip
        except Exception as error:
            answer["error"] = str(error)[:300]
            self.log("error", "reload.failed", exc_info=error)
        self.say(answer)

    async def _aggregate(self, on: bool) -> None:
        """fib.aggregate can change while packets flow: no lookup changes on the way."""
        rows = await self.core.reconciler.switch(on)
        if rows:
            self.log("info", "reload.aggregate", on=on, routes=rows)

    def facts(self) -> dict[str, Any]:
        """What `ipc show` and `version` tell of this process."""
        return {
            "takeover": self.takeover,
            "counters": {**self.counters, **getattr(self.links, "counters", {})}
            if hasattr(self, "links")
            else dict(self.counters),
            "management": dict(self.server.counters),
            "supervisor": {"connected": self.link.connected, **self.link.counters},
            "kernel": self.kernel.counters() if hasattr(self, "kernel") else {},
        }

    async def _stop(self, undo: bool) -> None:
        """Orderly: clients first, then the kernel, then the segments are let go."""
        if hasattr(self, "housekeeping"):
            self.housekeeping.close()
        self.events.close()
        if hasattr(self, "server"):
            await self.server.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_WAIT)
        if hasattr(self, "kernel"):
            for problem in await (self.kernel.stop() if undo else self.kernel.detach()):
                self.log("warning", "kernel.problem", what=problem)
        if hasattr(self, "core"):
            self.core.publisher.flush()
            self.segments.close()
        self.workers.close()
        self.log("info", "control.stop", undone=undo)
