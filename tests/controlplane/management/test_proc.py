"""What `ps` says of a process's rights, in the kernel's names."""

import os

import pytest

from ribcage.controlplane.management.proc import join
from ribcage.shared.process.proc import capabilities


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        ("0000000000000000", "none"),
        ("0000000000000001", "CHOWN"),
        ("0000000000003001", "CHOWN,NET_ADMIN,NET_RAW"),
        ("000001ffffffffff", "all"),
        ("0000010000000000", "CHECKPOINT_RESTORE"),
        ("0000800000000000", "CAP_47"),
        ("rubbish", None),
        (None, None),
    ],
)
def test_capabilities_have_their_names(mask: str | None, text: str | None) -> None:
    """No number where the kernel has a name; an unknown one is CAP_n, never nothing."""
    assert capabilities(mask) == text


def test_a_row_is_joined_with_what_proc_says() -> None:
    """Our own process: rights that can be read, no maps of an instance that does not exist."""
    row = join({"pid": os.getpid(), "role": "worker"}, "no-such-instance")
    assert row["caps"] is not None
    assert row["maps"] == []
    assert "go on" in row["if_it_dies"]
    assert join({"pid": 0, "role": "worker"}, "x")["caps"] is None
