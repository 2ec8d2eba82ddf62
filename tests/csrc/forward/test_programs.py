"""The worker's C under AddressSanitizer and UBSan: commits, rings, the hold queue, batches."""

import pytest

from tests.c.build import SANITIZE, build_c_test, rooms, run

FAULTS = (*SANITIZE, "-DRC_FAULT_POINTS")
PACKET = (*rooms("base", "packet"), "forward/limiter.c")
FORWARD = rooms("base", "segment", "report", "packet", "port", "forward")
TESTS = {
    "test_stats.c": ("report/stats.c", "segment/identity.c"),
    "test_ring.c": ("port/ring.c", "port/socket.c", "port/filter.c"),
    "test_own_addresses.c": ("forward/own_addresses.c", "base/address_class.c"),
    "test_hold.c": ("forward/hold.c",),
    "test_forward.c": FORWARD,
    "test_forward_error.c": ("forward/error.c", *PACKET),
}


@pytest.mark.parametrize("test", sorted(TESTS))
def test_c(test: str) -> None:
    """The promise is the comment on top of the C file."""
    run(build_c_test(test, TESTS[test], flags=FAULTS), patience=60)
