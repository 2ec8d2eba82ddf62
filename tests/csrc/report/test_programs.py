"""A worker's counters in C under ASan and UBSan, stopped at their fault points."""

from tests.csrc.build import SANITIZE, build_c_test, run


def test_a_killed_commit_reads_as_the_old_state_or_the_new() -> None:
    """At any step, balanced, and a successor takes the object over."""
    sources = ["report/stats.c", "segment/segment.c"]
    run(build_c_test("report/test_stats.c", sources, flags=(*SANITIZE, "-DRC_FAULT_POINTS")))
