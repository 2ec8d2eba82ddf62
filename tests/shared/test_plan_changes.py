"""A reload changes what can be changed, keeps the rest, and names what it kept."""

from dataclasses import replace

from ribcage.shared.plan import HoldPlan, IcmpPlan, Plan, RingsPlan, RoutePlan, WorkersPlan
from ribcage.shared.plan_changes import (
    FIXED,
    LIVE,
    RESTART,
    keep_running_values,
    needs_restart,
    settings_of,
)

RUNNING = Plan("r1", rings=RingsPlan(slots=256), workers=WorkersPlan(users=(61000, 61010)))


def test_every_setting_is_live_or_needs_a_restart() -> None:
    """None is forgotten, none stands twice."""
    named = [*LIVE, *RESTART, *FIXED]
    assert sorted(named) == sorted(settings_of(RUNNING))


def test_what_needs_a_restart_keeps_its_value_and_is_named() -> None:
    wanted = replace(
        RUNNING,
        rings=RingsPlan(slots=512),
        hold=HoldPlan(packets=7, timeout=1.5),
        icmp=IcmpPlan(rate=5),
        workers=WorkersPlan(count=4),
        routes=(RoutePlan("203.0.113.0/24", "blackhole"),),
    )
    body = wanted.to_json()
    assert keep_running_values(body, wanted, RUNNING) == [
        "workers.users",
        "hold.packets",
        "rings.slots",
    ]
    kept = Plan.from_json(body)
    assert kept.rings.slots == 256
    assert kept.workers == WorkersPlan(count=4, users=(61000, 61010))
    assert kept.hold == HoldPlan(timeout=1.5)
    assert (kept.icmp, kept.routes) == (wanted.icmp, wanted.routes)
    assert needs_restart(kept, RUNNING) == []
