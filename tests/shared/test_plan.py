"""The plan crosses processes whole, and a wrong one is refused with the place named."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ribcage.shared.plan import (
    MAX_TEXT,
    InterfacePlan,
    NexthopPlan,
    Plan,
    PlanError,
    ProcessPlan,
    RoutePlan,
    WorkersPlan,
)

FULL = Plan(
    name="r1",
    router_id="192.0.2.1",
    workers=WorkersPlan(count=3, cpus=(0, 1)),
    process=ProcessPlan(users=(7000, 7063), seccomp="log"),
    interfaces=(
        InterfacePlan("eth1", ("10.0.1.1/24", "2001:db8::1/64"), 1500),
        InterfacePlan("e2"),
    ),
    routes=(
        RoutePlan(
            "0.0.0.0/0", nexthops=(NexthopPlan("10.0.1.2", None, 2), NexthopPlan("10.0.1.3"))
        ),
        RoutePlan("203.0.113.0/24", "blackhole", metric=5, distance=7),
    ),
    orphan_timeout=0.0,
    teach=True,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def test_a_plan_comes_back_equal_from_text_and_from_an_object() -> None:
    """dumps() and to_json() lose nothing."""
    assert Plan.from_json(FULL.dumps()) == FULL
    assert Plan.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL


def test_rows_leave_out_their_defaults() -> None:
    """A thousand routes fit a channel message: only what differs is written."""
    assert FULL.to_json()["interfaces"][1] == {"name": "e2"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", "plan: expected an object, not list"),
        ("{", "plan: not JSON"),
        ("{}", "plan: name is missing"),
        ('{"name":1}', "plan.name: expected str, not int"),
        ('{"name":"a\\u0000"}', "plan.name: text too long or with a NUL"),
        ('{"name":"a","nmae":1}', "plan: unknown key 'nmae'"),
        ('{"name":"a","workers":{"count":true}}', "plan.workers.count: expected int, not bool"),
        ('{"name":"a","workers":{"count":-1}}', "plan.workers.count: -1 is outside"),
        ('{"name":"a","process":{"users":[1]}}', "plan.process.users: expected 2 values"),
        ('{"name":"a","orphan_timeout":NaN}', "plan.orphan_timeout: nan is outside"),
        ('{"name":"a","routes":[{"type":"forward"}]}', "plan.routes[0]: dst is missing"),
        ('{"name":"a","routes":[{"dst":"x","type":[]}]}', "plan.routes[0].type: [] is not one of"),
        ('{"name":"a","schema":2}', "plan has schema 2, this build reads 1"),
        ("[" * 100_000, "plan: not JSON"),
        (" " * (MAX_TEXT + 1), "are read"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_place(text: str, place: str) -> None:
    """Each kind of damage is a PlanError whose message names the field."""
    with pytest.raises(PlanError) as caught:
        Plan.from_json(text)
    assert place in str(caught.value)


@given(key=st.sampled_from(sorted(FULL.to_json())), value=json_values)
def test_any_json_in_any_field_is_a_plan_or_a_plan_error(key: str, value: object) -> None:
    """Whatever stands in a field, from_json() returns a Plan or raises PlanError alone."""
    data = {**FULL.to_json(), key: value}
    with contextlib.suppress(PlanError):
        plan = Plan.from_json(data)
        assert Plan.from_json(plan.dumps()) == plan
