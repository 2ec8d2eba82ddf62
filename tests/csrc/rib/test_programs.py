"""The routing table's C code under ASan and UBSan."""

from tests.csrc.build import RIB, run_c_test


def test_no_limit_and_no_damage_leads_out_of_the_table() -> None:
    """Every limit is a named error, and a scribbled segment is refused or read within bounds."""
    run_c_test("rib/test_rib.c", RIB, 500)


def test_aggregation_builds_the_set_of_the_definition() -> None:
    """Deep prefixes of both families, slices of one row, reverts; and no node is left behind."""
    run_c_test("rib/test_aggregate.c", RIB, 60)
