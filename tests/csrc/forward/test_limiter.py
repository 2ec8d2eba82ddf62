"""Token buckets against an exact model."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from ribcage.shared._core import ffi, lib

# Small numbers often, so that buckets run dry and refill at their edges; any number sometimes.
RATES = st.one_of(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
BURSTS = st.one_of(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
STEPS = st.one_of(
    st.just(0),
    st.integers(-(10**9), -1),
    st.integers(1, 10**9),
    st.sampled_from([10**9 // 5, 10**9 // 5 - 1, 10**9 // 3, 10**9 // 3 + 1, 10**9, 10**12]),
)


@settings(max_examples=300)
@given(rate=RATES, burst=BURSTS, steps=st.lists(STEPS, min_size=8, max_size=60))
def test_bucket_equals_exact_model(rate: int, burst: int, steps: list[int]) -> None:
    """Takes exactly when a model in fractions has a whole token, whatever the clock does."""
    now = newest = 10**12
    bucket = ffi.new("struct token_bucket *")
    lib.bucket_init(bucket, rate, burst, now)
    tokens = Fraction(burst)
    for step in steps:
        now = max(0, now + step)
        if now > newest:
            tokens = min(Fraction(burst), tokens + Fraction((now - newest) * rate, 10**9))
            newest = now
        expected = rate > 0 and tokens >= 1
        assert bool(lib.bucket_take(bucket, now)) == expected
        tokens -= expected


@given(
    sources=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10**5)), max_size=200),
    per_source=st.integers(1, 6),
)
def test_limiter_equals_model_while_the_table_holds_all(
    sources: list[tuple[int, int]], per_source: int
) -> None:
    """Few sources: each has its own exact share of the common bound, refused ones cost nothing."""
    limiter = ffi.new("struct source_limiter *")
    lib.limiter_init(limiter, 100, 20, per_source, per_source, 7, 0)
    now = 0
    common = (Fraction(20), 0)
    own: dict[int, tuple[Fraction, int]] = {}

    def grown(state: tuple[Fraction, int], rate: int, burst: int) -> Fraction:
        tokens, at = state
        return min(Fraction(burst), tokens + Fraction((now - at) * rate, 10**9))

    for source, step in sources:
        now += step
        have = grown(common, 100, 20)
        expected = have >= 1
        if expected:
            mine = grown(own.get(source, (Fraction(per_source), now)), per_source, per_source)
            expected = mine >= 1
            own[source] = (mine - expected, now)
        common = (have - expected, now)
        address = bytes([10, 0, 0, source])
        assert bool(lib.limiter_take(limiter, 4, address, now)) == expected
