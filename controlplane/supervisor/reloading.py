"""Reload: a new plan from the file (SIGHUP) or from control (management), applied as a difference.

The file is compiled by a helper program, because the compiler's imports are too heavy to live in
a process that forks. A file that is invalid, empty or another router's changes nothing: it is
logged, and the old plan stays. A valid one is the newest from then on: it goes to control, and to
whichever control follows; the number of workers, limits and log level are our own part.

    newest --`done` with its number, from whichever control--> in force      reload.done is logged
       |     `done` with an error, or DEATHS controls died on it -> the plan in force is back
       +---- a newer one -> superseded: its number is believed no more
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.supervisor.children.fork import log_level
from ribcage.controlplane.supervisor.children.helper import Helpers
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context, Settings
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.messages import Messages, Verdict
from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import PlanError
from ribcage.shared.plan_changes import refuse_plan
from ribcage.shared.process import log as lines
from ribcage.shared.process.log import log

DEATHS = 3  # of controls that were at one plan, after which the plan is to blame


@dataclass(slots=True)
class _Open:
    """A plan that is not known to be in force yet."""

    number: int
    restarts: int  # of control, when it was given
    answer: Verdict


class Reloading:
    """One compilation at a time; requests that come meanwhile become one more."""

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
        self._open: _Open | None = None
        self._in_force = context.settings
        self._numbers: list[int] = []  # that control may still answer

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

    def from_request(self, request: dict[str, Any], answer: Verdict) -> None:
        """`reload-request` of control."""
        self.from_object(request.get("plan"), answer, request.get("allow_empty") is True)

    def from_object(
        self, plan: object, answer: Verdict = lambda error: None, allow_empty: bool = False
    ) -> None:
        """A plan as JSON values: the file's, or `reload-request` of control. One that is no plan,
        or not for this router, changes nothing. `answer(error or None)` when it is decided."""
        current = self.context.plan
        if self.context.phase != "running":
            answer(f"the router is {self.context.phase}")
            return
        if isinstance(plan, dict):
            # Not the file's to change: the instance has its name, and --teach was said at start.
            plan = {
                **plan,
                "name": current.name,
                "teach": current.teach or plan.get("teach", False),
            }
        try:
            settings = Settings.parse(json.dumps(plan))
            # Routes are only counted here: the supervisor holds none.
            routes = isinstance(plan, dict) and bool(plan.get("routes"))
            refuse_plan(settings.plan, current, allow_empty or routes)
        except (PlanError, RibcageError) as error:
            why = error.message if isinstance(error, RibcageError) else str(error)
            log("error", "reload.refused", why=why)
            answer(why)
            return
        self.apply(settings, answer)

    def apply(self, settings: Settings, answer: Verdict = lambda error: None) -> None:
        """The newest plan from here on: our part now, control's as soon as there is one."""
        context, control = self.context, self.context.table.control
        settings, kept = settings.with_running_values(context.settings)
        if kept:
            log("warning", "reload.needs_restart", keys=" ".join(kept))
        if self._open is not None:
            log("info", "reload.superseded", number=self._open.number)
            self._open.answer("a newer plan took its place")
        number = self.messages.expect(
            self.context.table.control, lambda error: self._answered(number, settings, error)
        )
        self._numbers.append(number)
        self._open = _Open(number, control.restarts, answer)
        context.plan_id = number
        self._take(settings)
        if control.channel is not None:
            body = {"type": "reload", "id": number, "plan": settings.for_control()}
            self.handover.post(control, body)

    def _take(self, settings: Settings) -> None:
        """What is the supervisor's and the workers' of a plan."""
        context = self.context
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

    def _answered(self, number: int, settings: Settings, error: str | None) -> None:
        """`done`: this plan is in force, or is not. Only of the newest that is news for people; an
        older one is what control goes back to when the newest fails."""
        for older in [one for one in self._numbers if one <= number]:
            self._numbers.remove(older)
            self.messages.waiting.pop(older, None)
        if error is None:
            self._in_force = settings
        if self._open is None or self._open.number != number:
            return
        answer, self._open = self._open.answer, None
        if error is None:
            log("info", "reload.done", workers=len(self.context.workers))
        else:
            log("error", "reload.failed", error=error)
            self.context.plan_id = None
            self._take(self._in_force)
        answer(error)

    def look(self) -> None:
        """A child has ended. A plan at which one control after the other dies is not taken."""
        control = self.context.table.control
        if self._open is None or control.restarts - self._open.restarts < DEATHS:
            return
        why = f"control died {DEATHS} times at it; the plan before is back"
        self._answered(self._open.number, self.context.settings, why)
        if control.running:  # it was given the plan that the others died of
            control.kill()

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
