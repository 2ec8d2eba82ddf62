"""Children of another build: they agree with the supervisor on the channel, or are told why not."""

import json
from collections.abc import Callable
from typing import Any

MakeRouter = Callable[..., Any]


def speaks(low: int, high: int, minor: int) -> dict[str, str]:
    body = {"low": low, "high": high, "minor": minor, "build": "0123456789ab"}
    return {"FAKE_PROTOCOL": json.dumps(body)}


def test_a_newer_child_is_welcomed_and_its_additions_are_left_out(make_router: MakeRouter) -> None:
    """It is told what both speak; a message that has no name here is counted, and is no offence."""
    router = make_router(**speaks(1, 3, 7))
    router.start()
    assert "welcome" in router.heard()
    router.tell({"type": "of-tomorrow", "more": 1})
    router.logged("message.unknown")
    assert "message.refused" not in router.log_text()
    assert {row["build"] for row in router.ps() if row["role"] != "supervisor"} >= {"0123456789ab"}
    assert router.stop() == 0


def test_an_older_child_is_no_reason_to_stop(make_router: MakeRouter) -> None:
    """One from before there was a range: served as version 1, never sent what it has no name for;
    a message that nobody knows is refused as ever."""
    router = make_router()
    router.start()
    assert "welcome" not in router.heard()
    router.tell({"type": "of-tomorrow"})
    router.logged("message.refused")
    assert router.stop() == 0


def test_an_orphan_of_a_build_that_cannot_talk_is_refused_by_name_and_replaced(
    make_router: MakeRouter,
) -> None:
    """Both builds and both ranges are in the log; who cannot be talked to must not keep a ring."""
    router = make_router(**speaks(7, 9, 0))
    router.start()
    workers = router.worker_pids()
    router.disconnect()
    router.crash()
    router.env.clear()
    router.start()
    said = [line for line in router.log_text().splitlines() if "guest.refused" in line]
    assert said and "build 0123456789ab (channel 7 to 9)" in said[0], said
    assert "(channel 1 to 1)" in said[0]
    assert not set(workers) & set(router.worker_pids())
    assert router.stop() == 0
