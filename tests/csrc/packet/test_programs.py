"""The frame functions' C under ASan and UBSan."""

from tests.csrc.build import rooms, run_c_test


def test_checksum_equals_reference() -> None:
    """Sum and incremental update equal RFC 1071 at every length, alignment and TTL."""
    run_c_test("packet/test_checksum.c", ["packet/checksum.c"])


def test_flow_hash_spreads_evenly() -> None:
    """Every input bit matters, consecutive flows spread, seeds choose independently."""
    run_c_test("packet/test_flow_hash.c", ["packet/flow_hash.c"])


def test_no_byte_outside_the_frame_is_read() -> None:
    """Frames cut at every length, at odd addresses, in exact-size memory: no stray access."""
    run_c_test("packet/test_packet.c", rooms("base", "packet"))
