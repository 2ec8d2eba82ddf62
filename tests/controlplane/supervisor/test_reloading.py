"""A reload is done when the newest plan is in force, whoever says so; else the old one is back."""

import os
import signal
from typing import Any

import pytest


def hup(router: Any) -> None:
    router.process.send_signal(signal.SIGHUP)


def control(router: Any) -> int:
    rows = router.state()["children"]
    return next((row["pid"] for row in rows if row["role"] == "control"), 0)


def workers(router: Any) -> int:
    return sum(row["role"] == "worker" for row in router.state()["children"])


def test_a_plan_that_fails_is_taken_back_whole(router: Any) -> None:
    """Control refuses it: the supervisor's own part, the number of workers, goes back too, and a
    control that comes later is given the plan in force."""
    router.write_plan(3, router_id="refused")
    hup(router)
    router.logged("reload.failed")
    router.until("two workers", lambda: workers(router) == 2)
    assert "reload.done" not in router.log_text()
    os.kill(control(router), signal.SIGKILL)
    router.disconnect()
    router.logged("child.ready child=control", 2)
    assert router.child("control")["state"] == "ready"
    assert workers(router) == 2


def test_done_is_said_by_the_control_that_follows(router: Any) -> None:
    """The one that was told dies before it has answered: not done. The next is given the plan,
    and its word counts."""
    router.write_plan(3, router_id="slow")
    hup(router)
    router.until("three workers", lambda: workers(router) == 3)
    assert "reload.done" not in router.log_text()
    os.kill(control(router), signal.SIGKILL)
    router.logged("reload.done workers=3")


def test_done_is_not_said_of_a_plan_that_is_not_the_newest(router: Any) -> None:
    """The first is never answered; the second takes its place, and done is said once."""
    router.write_plan(3, router_id="slow")
    hup(router)
    router.until("three workers", lambda: workers(router) == 3)
    router.write_plan(1)
    hup(router)
    router.logged("reload.superseded")
    router.logged("reload.done workers=1")
    assert router.log_text().count("reload.done") == 1


def test_a_plan_that_kills_control_is_given_up_after_three_deaths(router: Any) -> None:
    """The plan in force is back, and control with it."""
    router.write_plan(3, router_id="deadly")
    hup(router)
    router.logged("control died 3 times at it")
    router.until("two workers", lambda: workers(router) == 2)
    router.disconnect()
    router.until("control", lambda: router.child("control")["state"] == "ready")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ({"file_name": "other"}, "the file names router"),
        ({"interfaces": []}, "no interface and no route; the router has 1"),
    ],
)
def test_a_file_that_is_not_meant_for_it_is_refused(
    make_router: Any, text: dict[str, Any], words: str
) -> None:
    """Another router's, or an empty one: nothing is asked of control, and the log says why."""
    router = make_router(1)
    router.write_plan(1, interfaces=({"name": "eth1"},), file_name="mine")
    router.start()
    router.write_plan(1, **{"interfaces": ({"name": "eth1"},), "file_name": "mine", **text})
    hup(router)
    router.logged(words)
    assert "reload" not in router.heard()
