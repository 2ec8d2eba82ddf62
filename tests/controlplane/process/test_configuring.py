"""Plans are put in force one after the other; the newest wins, and one that fails is taken back."""

import asyncio
from typing import Any
from unittest.mock import MagicMock

from ribcage.controlplane.process.configuring import Configuring
from ribcage.controlplane.process.tasks import Tasks
from ribcage.shared.plan import InterfacePlan, Plan


class Parts:
    """What a plan is put into, all fakes; `gate` holds the kernel's configure up."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.log: list[str] = []
        self.configured: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing: set[str] = set()
        self.core = MagicMock(plan=plan("eth1"), rejected=[])
        self.core.replan = lambda new: setattr(self.core, "plan", new)
        self.core.reconcile.switch = self._switch
        self.kernel = MagicMock(start=self._start, configure=self._configure)
        self.links = MagicMock(told_addresses=self._start, sweep=self._start, synced=self._start)
        self.made = Configuring(
            self.core, self.kernel, self.links, lambda management: None, Tasks(),
            self.said.append, lambda level, event, **more: self.log.append(event), 1,
        )  # fmt: skip

    async def _start(self, *_: object) -> list[str]:
        return []

    async def _switch(self, aggregate: bool) -> int:
        return 0

    async def _configure(self, interfaces: Any, router_id: object) -> list[str]:
        await self.gate.wait()
        name = interfaces[0].name
        self.configured.append(name)
        if name in self.failing:
            raise OSError(f"{name} does not want")
        return []

    async def answers(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while len(self.said) < count:
                await asyncio.sleep(0)
        return self.said


def plan(*names: str) -> Plan:
    return Plan("t", interfaces=tuple(InterfacePlan(name) for name in names))


def body(number: int, *names: str) -> dict[str, Any]:
    return {"id": number, "plan": plan(*names).to_json()}


def test_reloads_wait_for_the_beginning_and_only_the_newest_counts() -> None:
    """Three plans while the first is put in force: the last is next, the others never are."""

    async def scenario() -> None:
        parts = Parts()
        parts.gate.clear()
        begun = asyncio.ensure_future(parts.made.begin())
        for number in (2, 3, 4):
            parts.made.reload(body(number, f"eth{number}"))
        parts.gate.set()
        await begun
        assert await parts.answers(2) == [{"type": "done", "id": n} for n in (1, 4)]
        assert parts.configured == ["eth1", "eth4"]
        assert parts.core.plan == plan("eth4")
        assert parts.log.count("reload.superseded") == 2

    asyncio.run(scenario())


def test_a_second_reload_while_one_runs_follows_it() -> None:
    """Never two at a time: the second begins when the first has said its word."""

    async def scenario() -> None:
        parts = Parts()
        await parts.made.begin()
        parts.gate.clear()
        parts.made.reload(body(2, "eth2"))
        await asyncio.sleep(0)
        parts.made.reload(body(3, "eth3"))
        parts.gate.set()
        assert [one["id"] for one in await parts.answers(3)] == [1, 2, 3]
        assert parts.configured == ["eth1", "eth2", "eth3"]

    asyncio.run(scenario())


def test_a_plan_that_fails_is_taken_back() -> None:
    """The one before is in force again, and the answer says why; the next plan is tried."""

    async def scenario() -> None:
        parts = Parts()
        await parts.made.begin()
        parts.failing = {"eth2"}
        parts.made.reload(body(2, "eth2"))
        answer = (await parts.answers(2))[-1]
        assert answer["error"] == "eth2 does not want; the plan before is in force again"
        assert parts.configured == ["eth1", "eth2", "eth1"]
        assert parts.core.plan == plan("eth1")
        assert "reload.done" not in parts.log
        parts.made.reload(body(3, "eth3"))
        assert (await parts.answers(3))[-1] == {"type": "done", "id": 3}

    asyncio.run(scenario())


def test_what_is_no_plan_changes_nothing() -> None:
    """Not a plan, or an address that is none: refused before anything is touched."""

    async def scenario() -> None:
        parts = Parts()
        await parts.made.begin()
        wrong = Plan("t", interfaces=(InterfacePlan("eth2", ("10.0.0.300/24",)),)).to_json()
        for number, one in enumerate(({"name": 3}, wrong, {}), 2):
            parts.made.reload({"id": number, "plan": one})
            assert "nothing was changed" in (await parts.answers(number))[-1]["error"]
        assert parts.configured == ["eth1"]
        assert parts.core.plan == plan("eth1")

    asyncio.run(scenario())


def test_a_first_plan_without_a_number_is_not_answered() -> None:
    """At a fresh start nobody waits for a word."""

    async def scenario() -> None:
        parts = Parts()
        parts.made._number = None
        await parts.made.begin()
        assert parts.said == []

    asyncio.run(scenario())
