"""Control and the standby are asked whether they live, and are never given up. Fake roles."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from ribcage.shared.plan import ControlPlan

MakeRouter = Callable[..., Any]
TIMEOUT = 0.6


@pytest.fixture
def watched(make_router: MakeRouter) -> Any:
    """A router whose control may be silent for 0.6 s, with a standby."""
    router = make_router(1)
    router.write_plan(1, control=ControlPlan(TIMEOUT))
    router.start()
    standby(router)
    return router


def pid_of(router: Any, role: str) -> int:
    rows = router.state()["children"]
    return next((row["pid"] for row in rows if row["role"] == role), 0)


def standby(router: Any, other_than: int = 0) -> int:
    def look() -> int:
        pid = pid_of(router, "standby")
        return 0 if pid == other_than else pid

    found: int = router.until("a standby", look)
    router.note_pids()
    return found


def test_a_stopped_control_is_replaced_by_the_standby(watched: Any) -> None:
    """SIGSTOP is as good as death: killed after the timeout, the standby goes on; log and ps say
    why, and the worker does not notice."""
    control, next_one, worker = pid_of(watched, "control"), pid_of(watched, "standby"), 0
    worker = watched.worker_pids()[0]
    os.kill(control, signal.SIGSTOP)
    watched.logged("child.stopped child=control")
    watched.logged("control.promoted")
    watched.until("promoted", lambda: pid_of(watched, "control") == next_one)
    watched.disconnect()
    watched.logged("child.ready child=control", 2)
    row = watched.child("control")
    assert row["hangs"] == 1 and row["state"] == "ready"
    assert row["last_exit"].startswith("stopped: no answer for 0.")
    assert row["last_exit"].endswith("killed by signal 9 (SIGKILL)")
    assert watched.worker_pids() == [worker]
    assert watched.stop() == 0
    assert watched.leftovers() == []


def test_a_control_whose_loop_stands_still_is_replaced(watched: Any) -> None:
    """It runs and does not answer: hung, killed, and the standby goes on."""
    control = pid_of(watched, "control")
    watched.connect().send({"type": "hang"})
    watched.logged("child.hung child=control")
    watched.until("another", lambda: pid_of(watched, "control") not in (0, control))
    watched.disconnect()
    assert watched.child("control")["last_exit"].startswith("hung: no answer for 0.")


def test_a_stopped_standby_is_replaced_before_it_is_needed(watched: Any) -> None:
    """Nobody would see it before control dies; the supervisor does, and control stays."""
    control, stopped = pid_of(watched, "control"), pid_of(watched, "standby")
    os.kill(stopped, signal.SIGSTOP)
    watched.logged("child.exit child=standby")
    fresh = standby(watched, stopped)
    assert pid_of(watched, "control") == control
    os.kill(control, signal.SIGKILL)
    watched.until("it is used", lambda: pid_of(watched, "control") == fresh)


def test_a_standby_that_was_just_stopped_is_not_promoted(watched: Any) -> None:
    """Control dies before the watchdog has noticed: a stopped process is no successor."""
    control, stopped = pid_of(watched, "control"), pid_of(watched, "standby")
    os.kill(stopped, signal.SIGSTOP)
    watched.until("T", lambda: watched.child("standby")["letter"] == "T")
    os.kill(control, signal.SIGKILL)
    watched.disconnect()
    watched.logged("child.ready child=control", 2)
    assert pid_of(watched, "control") not in (control, stopped)


def test_a_supervisor_that_stood_still_blames_nobody(watched: Any) -> None:
    """It was stopped for longer than the timeout: the answers wait in its sockets."""
    before = {row["pid"] for row in watched.state()["children"]}
    os.kill(watched.pid, signal.SIGSTOP)
    with pytest.raises(AssertionError):
        watched.until("three timeouts", lambda: False, 3 * TIMEOUT)
    os.kill(watched.pid, signal.SIGCONT)
    assert watched.child("control")["hangs"] == 0
    assert {row["pid"] for row in watched.state()["children"]} == before
    assert "child.hung" not in watched.log_text()


def test_questions_do_not_pile_up_in_a_stopped_process(make_router: MakeRouter) -> None:
    """With the watch turned off a stopped control is left alone, and asked nothing."""
    router = make_router(1)
    router.write_plan(1, control=ControlPlan(0.0))
    router.start()
    control = pid_of(router, "control")
    os.kill(control, signal.SIGSTOP)
    router.logged("child.stopped child=control")
    assert pid_of(router, "control") == control
    os.kill(control, signal.SIGCONT)
    router.logged("child.well child=control")
    assert "ping" not in router.heard()


def test_control_comes_back_however_often_it_dies(make_router: MakeRouter) -> None:
    """Six deaths in a row, more than restart.max: each time another control is ready, at once
    since a standby waits, and `ps` never says that it was given up."""
    router = make_router(1)
    router.write_plan(1, restart_max=2)
    router.start()
    for death in range(6):
        standby(router)
        control = pid_of(router, "control")
        ready = router.log_text().count("child.ready child=control")
        os.kill(control, signal.SIGKILL)
        router.disconnect()
        router.until(
            f"control after death {death + 1}",
            lambda before=ready: router.log_text().count("child.ready child=control") > before,
        )
        assert pid_of(router, "control") not in (0, control)
    assert router.log_text().count("control.promoted") == 6
    assert router.child("control")["restarts"] == 6


def test_a_standby_that_becomes_ready_ends_controls_wait(make_router: MakeRouter) -> None:
    """Control and standby die together again and again: whichever is there first goes on."""
    router = make_router(1)
    router.write_plan(1, restart_max=1)
    router.start()
    for _ in range(3):
        standby(router)
        ready = router.log_text().count("child.ready child=control")
        for role in ("standby", "control"):
            os.kill(pid_of(router, role), signal.SIGKILL)
        router.disconnect()
        router.until(
            "control",
            lambda before=ready: router.log_text().count("child.ready child=control") > before,
        )
    assert router.child("control")["state"] == "ready"


def test_an_adopted_control_is_watched_too(watched: Any) -> None:
    """The supervisor died and another one asks: a control that is stopped then is replaced."""
    control = pid_of(watched, "control")
    watched.crash()
    watched.disconnect()
    watched.start()
    assert pid_of(watched, "control") == control
    os.kill(control, signal.SIGSTOP)
    watched.logged("child.stopped child=control")
    watched.until("another", lambda: pid_of(watched, "control") not in (0, control))
    assert watched.stop() == 0
    assert watched.leftovers() == []


def test_a_control_that_is_stopped_while_it_begins_is_replaced(watched: Any) -> None:
    """Its start has a longer limit, its being stopped has not."""
    first = pid_of(watched, "control")
    next_one = pid_of(watched, "standby")
    os.kill(next_one, signal.SIGSTOP)
    watched.until("T", lambda: watched.child("standby")["letter"] == "T")
    os.kill(next_one, signal.SIGCONT)
    os.kill(first, signal.SIGKILL)
    os.kill(next_one, signal.SIGSTOP)  # before or after it was promoted
    watched.disconnect()
    watched.logged("child.ready child=control", 2)
    watched.until("another", lambda: pid_of(watched, "control") not in (0, first, next_one))
