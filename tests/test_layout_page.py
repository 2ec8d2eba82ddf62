"""The page about shared memory is what the headers say."""

import struct
import subprocess
import sys
from pathlib import Path

from ribcage.shared._core import ffi

ROOT = Path(__file__).resolve().parent.parent


def test_the_layout_page_is_not_stale() -> None:
    """docs/shm-layout.md equals what docs/layout.py writes from the headers now."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "layout.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_python_and_c_agree_on_the_identity_line() -> None:
    """The line every segment begins with, read without any C: what other tools rely on."""
    form = struct.Struct("=QHHIQQQIIIIQ")
    assert form.size == ffi.sizeof("struct segment_identity")
    line = ffi.new("struct segment_identity *")
    values = tuple(range(1, 13))
    for (name, _), value in zip(ffi.typeof("struct segment_identity").fields, values, strict=True):
        setattr(line, name, value)
    assert form.unpack(bytes(ffi.buffer(line))) == values
