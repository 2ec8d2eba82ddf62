"""Reload: a new plan from the file (SIGHUP) or from control (management), applied as a difference.

The file is compiled by a helper program, because the compiler's imports are too heavy to live in
a process that forks. An invalid file changes nothing: its errors are logged, line by line, and
the old plan stays. A valid one goes to control, which says `done`; the number of workers, limits
and log level are the supervisor's own part.
"""

import json
from collections.abc import Callable

from ribcage.controlplane.supervisor.children.helper import Helpers
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle, log_level
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context, Settings
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.messages import Messages
from ribcage.shared.plan import PlanError
from ribcage.shared.process import log as lines
from ribcage.shared.process.log import log


class Reloading:
    """One reload at a time; requests that come meanwhile become one more."""

    def __init__(
        self,
        context: Context,
        handover: Handover,
        lifecycle: Lifecycle,
        messages: Messages,
        helpers: Helpers,
    ) -> None:
        self.context = context
        self.handover = handover
        self.lifecycle = lifecycle
        self.messages = messages
        self.helpers = helpers
        self._compiling = False
        self._again = False

    def from_file(self) -> None:
        """SIGHUP."""
        path = self.context.plan.config_path
        if self._compiling:
            self._again = True
        elif path is None:
            log("warning", "reload.refused", why="the plan names no config file")
        elif self.context.phase == "running":
            self._compiling = True
            argv = self.context.roles.compile(path)
            self.helpers.run(argv, self.context.limits.compile, self._compiled)

    def _compiled(self, cause: str, clean: bool, out: bytes, err: bytes) -> None:
        self._compiling = False
        if clean:
            try:
                self.from_object(json.loads(out))
            except (ValueError, RecursionError) as error:
                log("error", "reload.refused", why=f"config compile printed no plan: {error}")
        else:
            for line in err.decode("utf-8", "replace").splitlines()[:100]:
                log("error", "reload.invalid", line=line)
            log("error", "reload.refused", why=f"config compile {cause}; the old plan stays")
        if self._again:
            self._again = False
            self.from_file()

    def from_object(self, plan: object) -> None:
        """A plan as JSON values: the file's, or `reload-request` of control."""
        if isinstance(plan, dict):
            # Not the file's to change: the instance has its name, and --teach was said at start.
            current = self.context.plan
            plan = {
                **plan,
                "name": current.name,
                "teach": current.teach or plan.get("teach", False),
            }
        self.from_text(json.dumps(plan))

    def from_text(self, text: str) -> None:
        """Applies a plan; one that is no plan changes nothing."""
        if self.context.phase != "running":
            return
        try:
            settings = Settings.parse(text)
        except PlanError as error:
            log("error", "reload.refused", why=str(error))
            return
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        context = self.context
        settings, kept = settings.with_running_values(context.settings)
        if kept:
            log("warning", "reload.needs_restart", keys=" ".join(kept))
        context.settings = settings
        plan = settings.plan
        context.table.set_limits(plan.workers.restart_max, plan.workers.restart_window)
        context.ports.max_memory = plan.rings.max_memory
        lines.set_level(log_level(plan.log.level))
        for child in context.table.running():
            self.handover.post(child, {"type": "log-level", "level": log_level(plan.log.level)})
        for worker in context.workers:
            self.handover.post(worker, {"type": "plan", "plan": settings.for_worker()})
        self._resize(plan.workers.count)
        self.lifecycle.reset_backoffs()
        context.save()
        control = context.table.control
        if control.channel is not None:
            body = {"type": "reload", "plan": settings.for_control()}
            self.messages.ask(control, body, self._answered)

    def _answered(self, error: str | None) -> None:
        if error is None:
            log("info", "reload.done", workers=len(self.context.workers))
        else:
            log("error", "reload.failed", error=error)

    def _drain(self, child: Child) -> None:
        """Ends it once it has nothing left to do, or after the limit."""
        dismiss = self._dismiss(child)
        self.messages.ask(child, {"type": "drain"}, lambda error: dismiss())
        self.context.loop.after(self.context.limits.drain, dismiss)

    def _dismiss(self, child: Child) -> Callable[[], None]:
        pid = child.pid
        told = False

        def dismiss() -> None:
            nonlocal told
            if child.pid == pid and child.channel is not None and not told:
                told = True
                self.handover.post(child, {"type": "stop"})
                self.context.loop.after(self.context.limits.stop_workers, child.kill)

        return dismiss

    def _resize(self, count: int) -> None:
        """Grows or shrinks the set of workers. One that comes gets no frames before it is ready;
        one that leaves gets no new ones and stops when it has said that its rings and its hold
        queue are empty: a timer would lose the packets of a worker that does not run just now."""
        context = self.context
        table = context.table
        while len(table.workers) > count:
            child = table.workers.pop()
            if child.running:
                child.state = "stopping"
                table.leaving.append(child)
                self.lifecycle.share_frames()
                self._drain(child)
            else:
                child.cancel_timer()
                context.ports.close_worker(child.index)
                context.bells.drop(child.index)
        grown = [table.grow() for _ in range(count - len(table.workers))]
        for port in list(context.ports.known.values()):
            self.messages.complete_port(port)
        for child in grown:
            if not any(leaver.index == child.index for leaver in table.leaving):
                self.lifecycle.start(child)
        self.handover.tell_workers()  # those that came have been told of at their start
