"""The forwarder's C under ASan and UBSan: batches, errors, the hold queue, limits."""

import pytest

from tests.csrc.build import SANITIZE, build_c_test, rooms, run, run_c_test

FAULTS = (*SANITIZE, "-DRC_FAULT_POINTS")
DECIDE = ("decide/decide.c", "decide/error.c", "decide/own_addresses.c")
TESTS = {
    "test_own_addresses.c": ("decide/own_addresses.c", "base/address_class.c"),
    "test_hold.c": ("forward/hold.c",),
    "test_forward.c": (*rooms("base", "segment", "report", "packet", "port", "forward"), *DECIDE),
    "test_doubt.c": (*rooms("base", "segment", "report", "packet", "port", "forward"), *DECIDE),
    "test_error.c": (
        *("forward/error.c", "forward/limiter.c", "decide/error.c"),
        *rooms("base", "packet"),
    ),
}


@pytest.mark.parametrize("test", sorted(TESTS))
def test_c(test: str) -> None:
    """The promise is the comment on top of the C file."""
    run(build_c_test(f"forward/{test}", TESTS[test], flags=FAULTS))


def test_limiter_holds_rate_and_burst() -> None:
    """Token buckets and the per-source table keep their bounds whatever the clock does."""
    run_c_test("forward/test_limiter.c", ["forward/limiter.c"])
