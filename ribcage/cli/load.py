"""Sends a table of routes to the router in chunks of whole lines: begin, chunk..., commit.

The file is read once, streaming, whatever its size; nothing of it is in force before `commit`.
Any end but a commit (an error, Ctrl-C, the connection lost) is an abort, and what is interrupted
says how much had gone over.
"""

import contextlib
import gzip
import io
import json
import lzma
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from ribcage.cli.answer.streams import standard_input
from ribcage.cli.answer.units import plural
from ribcage.cli.session import Session, usage
from ribcage.shared.errors import Exit, RibcageError

CHUNK = 44 * 1024  # of text: as JSON it stays below the router's 64 KiB a line
MAX_LINE = 1024
COMMIT_TIMEOUT = 600.0
UTF8_MARK = b"\xef\xbb\xbf"  # Windows editors begin a file with it
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MAGIC: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\xfd7zXZ\x00", lzma.open),
    (b"\x1f\x8b", gzip.open),
)


def load_table(
    session: Session, path: Path, vias: Sequence[str], atomic: bool, wait: str
) -> dict[str, Any]:
    """The answer of route.load.commit, plus what the chunks rejected."""
    with _open(path) as raw:
        begun = session.call("route.load.begin", source="added", vias=list(vias), atomic=atomic)
        identity = begun.get("id")
        try:
            with _Progress(session, raw, path) as progress:
                rows = 0
                for first_line, text in _chunks(raw, path):
                    rows = _send(session, identity, path, first_line, text)
                    progress.at(rows)
                    sent = f"{plural(rows, 'route')} sent"
                    session.output.reached = f"{sent}, none of them is in force"
            timeout = session.patience(COMMIT_TIMEOUT)
            session.output.reached = f"{plural(rows, 'route')} sent, some may be in force"
            return session.call("route.load.commit", timeout, id=identity, wait=wait)
        except BaseException:
            _abort(session, identity)
            raise


def _send(session: Session, identity: object, path: Path, first_line: int, text: str) -> int:
    try:
        answer = session.call("route.load.chunk", session.patience(30.0), id=identity, text=text)
    except RibcageError as error:
        if error.message.startswith("line "):  # the router counts from the first chunk on
            message = f"{path}: {error.message}"
        else:
            last = first_line + text.count("\n") - 1
            message = f"{error.message} (lines {first_line}-{last} of {path})"
        raise RibcageError(error.code, message, error.hint, error.exit_code) from None
    rows = answer.get("rows")
    return rows if isinstance(rows, int) else 0


def _abort(session: Session, identity: object) -> None:
    """On a connection of its own: the old one may wait for an answer that is not ours."""
    with contextlib.suppress(RibcageError, OSError):
        session.hang_up()
        session.call("route.load.abort", 2.0, id=identity)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        if str(path) == "-":
            yield standard_input()
            return
        if not path.is_file():
            raise usage(f"{path} is not a file" if path.exists() else f"there is no file {path}")
        with path.open("rb") as raw:
            yield raw
    except OSError as error:
        raise usage(f"cannot read {path}: {error.strerror or error}") from None


def _chunks(raw: IO[bytes], path: Path) -> Iterator[tuple[int, str]]:
    """(number of the first line, whole lines) pieces of at most CHUNK bytes."""
    first = number = 1
    lines: list[str] = []
    size = 0
    for line in _lines(raw, path):
        if size + len(line) > CHUNK:
            yield first, "".join(lines)
            lines, size, first = [], 0, number
        lines.append(line)
        size += len(line)
        number += 1
    if lines:
        yield first, "".join(lines)


def _lines(raw: IO[bytes], path: Path) -> Iterator[str]:
    """The text's lines, unpacked; E_TABLE names the line that is no table's."""
    number = 0
    try:
        reader = _unpacked(raw)
        while line := reader.readline(MAX_LINE + 1):
            number += 1
            if number == 1:
                line = _without_mark(line)
            text = line.decode("ascii")
            # Escapes would let a chunk grow beyond what the router reads.
            if len(line) > MAX_LINE or len(json.dumps(text)) > len(text) + 4:
                raise ValueError("not a line of a table")
            yield text if text.endswith("\n") else text + "\n"
    except (ValueError, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        what = "not plain text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise RibcageError(
            "E_TABLE",
            f"{path}: line {number}: {what}",
            "a table is lines `PREFIX/LEN NEXTHOP`, plain, .gz or .xz; nothing was loaded",
            Exit.USAGE,
        ) from None


def _without_mark(line: bytes) -> bytes:
    if line.startswith(UTF16_MARKS):
        raise ValueError("UTF-16 text; save the file as UTF-8")
    return line.removeprefix(UTF8_MARK)


def _unpacked(raw: IO[bytes]) -> Any:
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
    head = buffered.peek(6)[:6]
    for magic, unpack in _MAGIC:
        if head.startswith(magic):
            return unpack(buffered)
    return buffered


class _Progress:
    """A bar on stderr when that is a terminal; otherwise silence."""

    def __init__(self, session: Session, raw: IO[bytes], path: Path) -> None:
        self._raw, self._bar = raw, None
        self._shown = 0.0
        if session.options.quiet or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        size = os.fstat(raw.fileno()).st_size if str(path) != "-" else None
        self._bar = Progress(
            TextColumn("{task.fields[routes]} routes"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True, no_color=session.options.color == "never"),
            transient=True,
        )
        self._task = self._bar.add_task("load", total=size or None, routes=0)

    def __enter__(self) -> "_Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, rows: int) -> None:
        if self._bar is not None and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            # The packed file's own position: a share of it is a share of the work.
            at = os.lseek(self._raw.fileno(), 0, os.SEEK_CUR) if self._raw.seekable() else 0
            self._bar.update(self._task, completed=at, routes=rows)
