"""A ring's C under ASan and UBSan, stopped at its fault points."""

from tests.csrc.build import SANITIZE, build_c_test, run


def test_each_frame_comes_once_whatever_worker_is_killed_when() -> None:
    """A model of the kernel fills the ring; the whole promise is on top of the C file."""
    sources = ["port/ring.c", "port/socket.c", "port/together.c", "port/filter.c"]
    run(build_c_test("port/test_ring.c", sources, flags=(*SANITIZE, "-DRC_FAULT_POINTS")))
