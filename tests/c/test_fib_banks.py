"""Banks and shared words at their worst: stopped in mid-copy, changed behind one's back."""

import subprocess
from pathlib import Path

from tests.c.build import FIB, SANITIZE, build_c_test


def test_no_word_of_a_segment_is_trusted_further_than_it_can_be(tmp_path: Path) -> None:
    """Stamps are whole or not there while their bank is copied, a torn replica names no
    generation, a damaged word leads nobody out of the segment, an outrun lookup is counted."""
    flags = (*SANITIZE, "-DRC_FAULT_POINTS")
    program = build_c_test("test_fib_banks.c", FIB, tmp_path, flags=flags)
    done = subprocess.run([program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}"
