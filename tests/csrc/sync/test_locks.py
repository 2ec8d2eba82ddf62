"""The lock strategies' waiting, from C: its length, and signals in it."""

from tests.csrc.build import FIB, build_c_test, run


def test_a_wait_for_a_lock_has_one_deadline() -> None:
    """Of all steps and all locks tried together, and signals do not begin it again: a reader
    waits SYNC_READ_WAIT_NS a batch, not three times four times that, nor for ever."""
    run(build_c_test("sync/test_locks.c", FIB), patience=90)
