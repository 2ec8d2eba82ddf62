"""Who follows a dead control: two processes never do the same imports at the same time."""

from types import SimpleNamespace
from typing import Any

import pytest

from ribcage.controlplane.supervisor.children.lifecycle import HEAD_START, Lifecycle
from ribcage.controlplane.supervisor.children.table import Child, ProcessTable
from ribcage.controlplane.supervisor.context import Deadlines


class Bench:
    """A table and a clock that only a test moves; starts are noted, nothing is forked."""

    def __init__(self) -> None:
        self.table = ProcessTable(1, 5, 60.0)
        self.timers: list[tuple[float, Any]] = []
        context: Any = SimpleNamespace(
            table=self.table, limits=Deadlines(), loop=self, phase="running"
        )
        nothing: Any = None
        self.lifecycle = Lifecycle(context, nothing, nothing, nothing)
        self.started: list[str] = []
        self.lifecycle.start = lambda child: self.started.append(child.name)  # type: ignore[method-assign]

    def after(self, seconds: float, work: Any) -> Any:
        self.timers.append((seconds, work))
        return SimpleNamespace(cancel=lambda: None)

    def die(self, child: Child) -> None:
        child.pid, child.state = 0, "absent"
        self.lifecycle._succeed(child, 0.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_control_that_dies_while_its_standby_is_being_made_waits_for_that_one(
    bench: Bench,
) -> None:
    """Not for ever; and should the standby die too, another control starts at once."""
    standby, control = bench.table.standby, bench.table.control
    standby.pid, standby.state = 4242, "starting"
    bench.die(control)
    assert (bench.started, control.state) == ([], "waiting")
    assert bench.timers[-1][0] == HEAD_START
    bench.die(standby)
    assert bench.started == ["control"]


def test_a_control_that_dies_without_a_standby_is_made_at_once(bench: Bench) -> None:
    """There is nobody to wait for."""
    bench.die(bench.table.control)
    assert bench.started == ["control"]


def test_no_standby_is_made_beside_a_control_that_is_starting(bench: Bench) -> None:
    """It is put off until that one is ready."""
    control = bench.table.control
    control.pid, control.state = 4242, "starting"
    bench.lifecycle.standby_later()
    bench.timers[-1][1]()
    assert bench.started == []
    control.state = "ready"
    bench.timers[-1][1]()
    assert bench.started == ["standby"]
