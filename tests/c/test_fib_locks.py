"""The lock strategies' waiting, from C: its length, and signals in it."""

import subprocess
from pathlib import Path

import pytest

from tests.c.build import FIB, build_c_test


@pytest.mark.timeout(100)
def test_a_wait_for_a_lock_has_one_deadline(tmp_path: Path) -> None:
    """Of all steps and all locks tried together, and signals do not begin it again: a reader
    waits SYNC_READ_WAIT_NS a batch, not three times four times that, nor for ever."""
    program = build_c_test("test_fib_locks.c", FIB, tmp_path)
    done = subprocess.run([program], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}"
