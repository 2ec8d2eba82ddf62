"""The audit's C code under ASan and UBSan, over tables that somebody writes into."""

from tests.csrc.build import FIB, RIB, rooms, run_c_test


def test_no_word_leads_the_audit_out_of_the_tables() -> None:
    """Words of both tables changed at random while they are open: every round comes to an end, no
    read is outside, and clean tables are clean."""
    sources = list(dict.fromkeys([*FIB, *RIB, *rooms("verify")]))
    run_c_test("verify/test_audit.c", sources, 60)
