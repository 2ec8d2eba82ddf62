"""Which worker gets which bucket: a home each, evenly spread while it is away, and nothing moves
without need."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ribcage.controlplane.supervisor.resources.buckets import BUCKETS, home, spread

workers = st.integers(1, 64)


@given(workers)
def test_all_alive_each_bucket_is_at_home(n: int) -> None:
    """And each worker has its share, give or take one bucket."""
    table = spread(n, set(range(n)))
    assert table == tuple(home(bucket, n) for bucket in range(BUCKETS))
    shares = Counter(table)
    assert set(shares) == set(range(n))
    assert max(shares.values()) - min(shares.values()) <= 1


@given(workers, st.data())
def test_the_dead_get_nothing_and_the_living_share_it_evenly(n: int, data: st.DataObject) -> None:
    living = set(data.draw(st.lists(st.integers(0, n - 1), min_size=1)))
    table = spread(n, living)
    shares = Counter(table)
    assert set(table) <= living
    assert max(shares.values()) - min(shares[one] for one in living) <= 1
    moved = [bucket for bucket in range(BUCKETS) if table[bucket] != home(bucket, n)]
    assert all(home(bucket, n) not in living for bucket in moved)


@given(st.integers(2, 16), st.data())
def test_no_flow_moves_but_those_of_who_left_or_came(n: int, data: st.DataObject) -> None:
    """Workers die and come back in any order: a bucket moves when its worker dies, or when its
    home comes back, and never else."""
    living = set(range(n))
    table = spread(n, living)
    for worker in data.draw(st.lists(st.integers(0, n - 1), max_size=30)):
        left, came = (worker, None) if worker in living else (None, worker)
        living ^= {worker}
        if not living:
            living ^= {worker}
            continue
        before, table = table, spread(n, living, table)
        for bucket in range(BUCKETS):
            if before[bucket] == table[bucket]:
                continue
            assert before[bucket] == left or (table[bucket] == came == home(bucket, n))
        assert set(table) <= living
        for bucket in range(BUCKETS):
            assert table[bucket] == home(bucket, n) or home(bucket, n) not in living


def test_with_one_of_eight_away_its_share_is_split_among_seven() -> None:
    all_of_them = set(range(8))
    table = spread(8, all_of_them - {3}, spread(8, all_of_them))
    taken = Counter(table[bucket] for bucket in range(BUCKETS) if home(bucket, 8) == 3)
    assert sum(taken.values()) == 32 and set(taken.values()) <= {4, 5}


def test_with_nobody_alive_frames_wait_at_home() -> None:
    assert spread(3, set()) == spread(3, {0, 1, 2})
