"""A reload changes what can be changed, keeps the rest, and names what it kept."""

from dataclasses import replace

import pytest

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import (
    HoldPlan,
    IcmpPlan,
    InterfacePlan,
    Plan,
    ProcessPlan,
    RingsPlan,
    RoutePlan,
    WorkersPlan,
)
from ribcage.shared.plan_changes import (
    FIXED,
    LIVE,
    RESTART,
    changes,
    keep_running_values,
    needs_restart,
    refuse_plan,
    settings_of,
)

RUNNING = Plan("r1", rings=RingsPlan(slots=256), process=ProcessPlan((61000, 61010)))


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
        process=ProcessPlan(None),
        routes=(RoutePlan("203.0.113.0/24", "blackhole"),),
    )
    body = wanted.to_json()
    assert keep_running_values(body, wanted, RUNNING) == [
        "process.users",
        "hold.packets",
        "rings.slots",
    ]
    kept = Plan.from_json(body)
    assert kept.rings.slots == 256
    assert kept.workers == WorkersPlan(count=4)
    assert kept.process == ProcessPlan((61000, 61010))
    assert kept.hold == HoldPlan(timeout=1.5)
    assert (kept.icmp, kept.routes) == (wanted.icmp, wanted.routes)
    assert needs_restart(kept, RUNNING) == []


ETH1, ETH2 = InterfacePlan("eth1", ("10.0.1.1/24",)), InterfacePlan("eth2")
MINE = replace(RUNNING, file_name="mine", interfaces=(ETH1, ETH2))


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (replace(MINE, file_name="other"), "E_OTHER_ROUTER"),
        (Plan("r1", file_name="mine"), "E_EMPTY_PLAN"),
        (Plan("r1"), "E_EMPTY_PLAN"),
    ],
)
def test_a_plan_that_is_hardly_meant_is_refused(new: Plan, code: str) -> None:
    """Another router's file, or one without interface and route; exit 3, nothing changed."""
    with pytest.raises(RibcageError) as refused:
        refuse_plan(new, MINE)
    assert (refused.value.code, refused.value.exit_code) == (code, Exit.CONFIG)


def test_a_plan_that_is_meant_is_taken() -> None:
    """The same file, one that names no router or the instance, an empty one for an empty router,
    an empty one that is said to be meant."""
    refuse_plan(MINE, MINE)
    refuse_plan(replace(MINE, file_name=None), MINE)
    refuse_plan(replace(MINE, file_name="r1"), MINE)
    refuse_plan(Plan("r1"), RUNNING)
    refuse_plan(Plan("r1"), MINE, allow_empty=True)


def test_changes_name_ports_routes_and_settings() -> None:
    """Added, removed and changed, in the order of the files; the file's own place is no setting."""
    old = replace(MINE, routes=(RoutePlan("10.1.0.0/16", metric=5), RoutePlan("10.2.0.0/16")))
    new = replace(
        old,
        interfaces=(replace(ETH1, mtu=9000), InterfacePlan("eth3")),
        routes=(RoutePlan("10.1.0.0/16", "blackhole", metric=5), RoutePlan("10.1.0.0/16")),
        icmp=IcmpPlan(rate=7),
        config_path="/elsewhere",
    )
    assert changes(new, old) == {
        "interfaces": {"added": ["eth3"], "removed": ["eth2"], "changed": ["eth1"]},
        "routes": {
            "added": ["10.1.0.0/16"],
            "removed": ["10.2.0.0/16"],
            "changed": ["10.1.0.0/16 metric 5"],
        },
        "settings": ["icmp.rate"],
    }
    nothing: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    assert changes(old, old) == {"interfaces": nothing, "routes": nothing, "settings": []}
