"""Standard streams that are closed, full, or left by their reader: each ends in a known way.

    streams.secure()                 # once, before anything is opened
    streams.answer(sys.stdout, text)
    streams.written(text)            # on stderr

A descriptor of 0, 1 or 2 that was closed at the start would be given to the next file or socket
that is opened, and answers would be written there: /dev/null takes its place. A reader that has
left (`| head`) is BrokenPipeError, as ever; every other failure is E_OUTPUT, exit 9.
"""

import contextlib
import io
import os
import select
import sys
from pathlib import Path
from typing import Any, TextIO

from ribcage.shared.errors import Exit, RibcageError


def secure() -> None:
    """Fills closed descriptors; gives sys.stderr something that may be written to."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free one: fd
            os.set_inheritable(fd, True)  # `run` hands it on
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for good


def written(text: str) -> None:
    """text on stderr. Nobody is left to tell when that fails, so nothing is; nor does any of it
    stay in Python's buffer, whose flush at the end would fail again and change the exit status."""
    with contextlib.suppress(OSError, ValueError):
        try:
            _write_all(sys.stderr.fileno(), text.encode(sys.stderr.encoding, "backslashreplace"))
        except io.UnsupportedOperation:  # a stream without a descriptor
            sys.stderr.write(text)


def answer(out: TextIO | None, text: str) -> None:
    """All of text on `out`, past Python's buffers: nothing is left to fail later, and a pipe that
    takes a part gets the rest too. BrokenPipeError: the reader has gone; else E_OUTPUT."""
    if out is None:
        raise output_error("it is closed")
    try:
        _write_all(out.fileno(), text.encode(out.encoding or "utf-8", "backslashreplace"))
    except BrokenPipeError:
        raise
    except io.UnsupportedOperation:  # a stream without a descriptor, as in a notebook
        out.write(text)
    except OSError as error:
        raise output_error(error.strerror or str(error)) from None
    except ValueError:
        raise output_error("it is closed") from None


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # somebody who shares it made it so
            select.select([], [fd], [])


def output_error(why: str) -> RibcageError:
    return RibcageError(
        "E_OUTPUT",
        f"the answer cannot be written to standard output: {why}",
        "what the command did is done; only the answer is lost",
        Exit.OUTPUT,
    )


def standard_input() -> Any:
    """stdin as bytes; E_USAGE when there is none."""
    if sys.stdin is None:
        raise RibcageError(
            "E_USAGE",
            "standard input is closed, so nothing can be read from -",
            "name a file, or: ribcage ... - < FILE",
            Exit.USAGE,
        )
    return sys.stdin.buffer
