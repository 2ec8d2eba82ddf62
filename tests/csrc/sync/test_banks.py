"""Banks and shared words at their worst: stopped in mid-copy, changed behind one's back."""

from tests.csrc.build import FIB, SANITIZE, build_c_test, run


def test_no_word_of_a_segment_is_trusted_further_than_it_can_be() -> None:
    """Stamps are whole or not there while their bank is copied, a torn replica names no
    generation, a damaged word leads nobody out of the segment, an outrun lookup is counted."""
    flags = (*SANITIZE, "-DRC_FAULT_POINTS")
    run(build_c_test("sync/test_banks.c", FIB, flags=flags))
