"""Next-hop sets: weights are honoured, and a change of one path leaves the others' flows alone."""

from collections import Counter
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ribcage.controlplane.values.nexthop import (
    BLACKHOLE,
    MAX_BUCKETS,
    MAX_PATHS,
    NOWHERE,
    Hop,
    NexthopSet,
    Path,
    apportion,
    bucket_count,
    eligible,
    fill,
    glean,
    group_plan,
    nexthop_set,
)

weights_of = st.lists(st.integers(1, 255), min_size=1, max_size=MAX_PATHS)


def a_set(weights: list[int]) -> NexthopSet:
    return nexthop_set(
        [Path(Hop(0, ip_address(0x0A000001 + i)), weight) for i, weight in enumerate(weights)]
    )


def number(hop: Hop) -> int:
    assert hop.gateway is not None
    return int(hop.gateway) - 0x0A000000


def everyone(_: Hop) -> bool:
    return True


@given(weights_of)
def test_buckets_follow_the_weights(weights: list[int]) -> None:
    """Every path gets a bucket; no pair could trade one and both come closer to its weight."""
    seats = 256
    counts = apportion(weights, seats)
    assert sum(counts) == seats
    assert min(counts) >= 1
    for i, mine in enumerate(counts):
        for j, other in enumerate(counts):
            # Webster's min-max inequality; a path at its guaranteed one bucket is exempt.
            if mine > 1:
                assert weights[i] / (2 * mine - 1) >= weights[j] / (2 * other + 1) - 1e-9


@given(weights_of, st.data())
def test_a_path_that_goes_moves_only_its_own_buckets(
    weights: list[int], data: st.DataObject
) -> None:
    """Resilience: whatever did not point at the dead path points where it pointed."""
    nexthops = a_set(weights)
    before = group_plan(nexthops, everyone, number)
    dead = data.draw(st.sampled_from(nexthops.paths)).hop
    after = group_plan(nexthops, lambda hop: hop != dead, number, before.buckets)
    if len(weights) == 1:
        assert after == NOWHERE
        return
    assert len(after.buckets) == len(before.buckets)
    assert number(dead) not in after.buckets
    for old, new in zip(before.buckets, after.buckets, strict=True):
        assert old == new or old == number(dead)


@given(weights_of, st.data())
def test_a_path_that_returns_takes_just_its_share(weights: list[int], data: st.DataObject) -> None:
    """After any life and death the counts are those of a fresh group, with no other move."""
    nexthops = a_set(weights)
    plan = group_plan(nexthops, everyone, number)
    fresh = Counter(plan.buckets)
    dead = data.draw(st.sets(st.sampled_from(nexthops.paths), max_size=len(weights) - 1))
    gone = {path.hop for path in dead}
    less = group_plan(nexthops, lambda hop: hop not in gone, number, plan.buckets)
    again = group_plan(nexthops, everyone, number, less.buckets)
    assert Counter(again.buckets) == fresh
    returned = {number(hop) for hop in gone}
    moved = {new for old, new in zip(less.buckets, again.buckets, strict=True) if old != new}
    assert moved <= returned


@given(weights_of)
def test_a_group_that_is_right_is_left_alone(weights: list[int]) -> None:
    """Computing a group again from its own buckets changes none: no flap after a takeover."""
    nexthops = a_set(weights)
    plan = group_plan(nexthops, everyone, number)
    assert group_plan(nexthops, everyone, number, plan.buckets) == plan


@given(weights_of)
def test_bucket_counts_are_powers_of_two_in_bounds(weights: list[int]) -> None:
    count = bucket_count(a_set(weights))
    assert count & (count - 1) == 0
    assert count == 1 if len(weights) == 1 else 64 <= count <= MAX_BUCKETS
    assert count >= len(weights)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=64),
    st.lists(st.integers(1, 5), min_size=1, max_size=64),
)
def test_fill_holds_exactly_what_was_asked(order: list[int], previous: list[int]) -> None:
    """The content is that of `order`; what can stay in its place stays."""
    filled = fill(order, previous)
    assert Counter(filled) == Counter(order)
    if len(order) == len(previous):
        kept = sum(old == new for old, new in zip(previous, filled, strict=True))
        assert kept == (Counter(order) & Counter(previous)).total()


def test_equal_content_is_an_equal_set_whatever_the_order() -> None:
    one, two = Path(Hop(1, ip_address("10.0.0.1"))), Path(Hop(0, ip_address("10.0.1.1")), 3)
    assert nexthop_set([one, two]) == nexthop_set([two, one])


@pytest.mark.parametrize(
    "paths",
    [
        [],
        [Path(Hop(0, ip_address("10.0.0.1")), 0)],
        [Path(Hop(0, ip_address("10.0.0.1")), 256)],
        [Path(Hop(0, ip_address("10.0.0.1"))), Path(Hop(0, ip_address("10.0.0.1")), 2)],
        [Path(Hop(0, ip_address(i + 1))) for i in range(MAX_PATHS + 1)],
    ],
    ids=["none", "weight 0", "weight 256", "twice", "too many"],
)
def test_a_senseless_set_is_refused(paths: list[Path]) -> None:
    with pytest.raises(ValueError):
        nexthop_set(paths)


def test_only_sets_with_paths_can_lose_them() -> None:
    """A blackhole is always eligible; a glean or a forward set needs a living port."""

    def nobody(_: Hop) -> bool:
        return False

    assert eligible(BLACKHOLE, nobody)
    assert not eligible(glean(3), nobody)
    assert not eligible(a_set([1, 2]), nobody)
    assert eligible(a_set([1, 2]), lambda hop: number(hop) == 2)
