"""Puts plans in force, one after the other: that of the beginning, then those of reloads.

    configuring = Configuring(core, kernel, links, limit_clients, say, log, number)
    await configuring.begin()            # the attach message's plan; then what came meanwhile
    configuring.reload(body)             # another one, also before `begin` is through
    configuring.report()                 # what of the plan in force could not be had

    beginning --begin--> in force --reload--> changing --done--> in force
        |  reload: kept                        |  reload: kept, the newest only
        +--------------------------------------+

Only the newest plan matters: one that waits is replaced by a newer one. `done` is said with the
number of the plan that is in force, after it is; the supervisor believes only the number it gave
last. A plan that fails is taken back: the one before is put in force again, and `done` says what
did not apply. A death on the way is the successor's: it is given the newest plan, and begins.

Numbers are the supervisor's. The stop of the process cancels the task at work here. Control only.
"""

from collections.abc import Callable
from typing import Any

from ribcage.controlplane.kernel.kernel import Kernel
from ribcage.controlplane.kernel.ports import own_addresses
from ribcage.controlplane.process.tasks import Tasks
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.links import Links
from ribcage.shared.plan import ManagementPlan, Plan

ADDRESSES_WAIT = 2.0  # at a fresh start, for the kernel to tell the addresses we configured
TOLD = 20  # problems of one answer


class Configuring:
    """See the module's text. `say` goes to the supervisor, `number` is the first plan's."""

    def __init__(
        self,
        core: Core,
        kernel: Kernel,
        links: Links,
        limit_clients: Callable[[ManagementPlan], None],
        tasks: Tasks,
        say: Callable[[dict[str, Any]], None],
        log: Callable[..., None],
        number: object,
    ) -> None:
        self._core = core
        self._kernel = kernel
        self._links = links
        self._limit_clients = limit_clients
        self._tasks = tasks
        self._say = say
        self._log = log
        self._number = number
        self._begun = False
        self._changing = False
        self._newest: dict[str, Any] | None = None
        self.problems: list[str] = []  # of the plan in force

    async def begin(self) -> None:
        """Links, addresses and neighbours are heard; the plan of the beginning is in force."""
        self.problems = await self._kernel.start()
        self.problems += await self._kernel.configure(
            self._core.plan.interfaces, self._core.plan.router_id
        )
        self._tell_problems()
        await self._links.told_addresses(ADDRESSES_WAIT)
        await self._links.sweep()
        self._begun = True
        self._done(self._number)
        self._go_on()

    def reload(self, body: dict[str, Any]) -> None:
        """The newest plan; an older one that still waits is never begun."""
        if self._newest is not None:
            self._log("info", "reload.superseded", number=self._newest.get("id"))
        self._newest = body
        self._go_on()

    def _go_on(self) -> None:
        if self._begun and not self._changing and self._newest is not None:
            self._changing = True
            self._tasks.spawn(self._change(), "reload")

    async def _change(self) -> None:
        try:
            while self._newest is not None:
                body, self._newest = self._newest, None
                self._number = body.get("id")
                self._done(self._number, await self._try(body))
        finally:
            self._changing = False

    async def _try(self, body: dict[str, Any]) -> str | None:
        """None when the plan is in force, else why it is not."""
        before = self._core.plan
        try:
            plan = Plan.from_json(body["plan"])
            for interface in plan.interfaces:
                own_addresses(interface)
        except (KeyError, TypeError, ValueError) as error:
            self._log("error", "reload.failed", why=str(error)[:300])
            return f"{error}; nothing was changed"[:300]
        try:
            await self._put_in_force(plan)
        except Exception as error:
            self._log("error", "reload.failed", exc_info=error)
            try:
                await self._put_in_force(before)
            except Exception as again:
                self._log("error", "reload.stuck", exc_info=again)
                return f"{error}; the plan before could not be put back whole: {again}"[:300]
            return f"{error}; the plan before is in force again"[:300]
        rejected = len(self._core.rejected)
        self._log("info", "reload.done", number=self._number, routes=len(plan.routes),
                  rejected=rejected, problems=len(self.problems))  # fmt: skip
        return None

    async def _put_in_force(self, plan: Plan) -> None:
        """Interfaces, routes, limits that can change while running; the supervisor kept the
        others. Packets flow meanwhile."""
        core = self._core
        core.replan(plan)
        self._limit_clients(plan.management)
        self._kernel.limit(plan.neighbours.max)
        # No lookup changes on the way.
        if rows := await core.reconcile.switch(plan.fib.aggregate):
            self._log("info", "reload.aggregate", on=plan.fib.aggregate, routes=rows)
        self.problems = await self._kernel.configure(plan.interfaces, plan.router_id)
        self._tell_problems()
        self._links.replan()
        await self._links.synced()

    def _tell_problems(self) -> None:
        for problem in self.problems:
            self._log("warning", "kernel.problem", what=problem)

    def _done(self, number: object, error: str | None = None) -> None:
        if number is not None:
            answer = {"type": "done", "id": number}
            self._say(answer if error is None else {**answer, "error": error})

    def report(self) -> dict[str, Any]:
        """What of the plan in force could not be had; for the answer to a reload."""
        rejected = self._core.rejected
        return {
            "problems": self.problems[:TOLD],
            "rejected": [f"{row.prefix}: {row.reason}" for row in rejected[:TOLD]],
            "left_off": max(0, len(self.problems) - TOLD) + max(0, len(rejected) - TOLD),
        }
