"""What a command says: the answer on stdout, messages on stderr, and the two forms of each.

With -j stdout holds exactly one JSON document, whatever happens: `{"schema":1, ...}` or
`{"schema":1,"error":{"code","message","hint"}}`. Without it, text for people, with colour only
on a terminal (or --color always) and never as the only signal.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ribcage.cli.options import Options
from ribcage.shared.errors import RibcageError

SCHEMA = 1
# What isprintable() refuses; our own colour sequences (group 1), newline and tab pass.
_UNPRINTED = re.compile(
    r"(\x1b\[[0-9;]{1,8}m|[\n\t])|[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]"
)
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


class Output:
    """One command's voice. `answered` tells whether stdout already has its JSON document."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.json = options.json
        self.answered = False
        self.out = sys.stdout  # kept: help text is captured while a command runs under -j
        self._stream: _Stream | None = None

    def answer(self, document: Mapping[str, Any], text: str | Iterable[str]) -> None:
        """The answer: document with -j, otherwise text (lines)."""
        if self.json:
            self._write_json({"schema": SCHEMA, **document})
            return
        for line in [text] if isinstance(text, str) else text:
            self.out.write(plain(line) + "\n")

    def bare(self, text: str) -> None:
        """A document that is JSON as it is, for programs; with or without -j."""
        self.answered = True
        self.out.write(text + "\n")

    def stream(self, key: str) -> "_Stream":
        """An answer that is one long list, written while it arrives."""
        self._stream = _Stream(self, key)
        return self._stream

    def error(self, error: RibcageError, details: Mapping[str, Any] | None = None) -> None:
        """A failure: the JSON document, or two lines on stderr."""
        if not self.json:
            self.out.flush()
            if (summary := getattr(error, "summary", None)) is not None:
                sys.stderr.write(f"{plain(summary)}\n")  # the problems themselves are above it
                return
            label = self.paint(f"error[{error.code}]", "red", sys.stderr)
            sys.stderr.write(f"{label}: {plain(error.message)}\n")
            if error.hint:
                sys.stderr.write("".join(f"  {plain(x)}\n" for x in error.hint.splitlines()))
            return
        body = {**error.to_json(), **(details or {})}
        if self._stream is not None and self._stream.open:
            self._stream.finish({"error": body})
        elif not self.answered:
            self._write_json({"schema": SCHEMA, "error": body})

    def say(self, text: str) -> None:
        """A message, for people, on stderr; -q silences it."""
        if not self.options.quiet:
            sys.stderr.write(plain(text) + "\n")

    def paint(self, text: str, colour: str, stream: Any = None) -> str:
        """text in colour, where colour is wanted."""
        target = stream or self.out
        when = self.options.color
        if when == "auto":
            term = os.environ.get("TERM", "") != "dumb" and not os.environ.get("NO_COLOR")
            when = "always" if term and target.isatty() else "never"
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if when == "always" else text

    def dumps(self, document: object) -> str:
        """JSON text as -p asks; NaN never leaves, since it is not JSON."""
        if self.options.pretty:
            return json.dumps(document, indent=2, allow_nan=False)
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    def _write_json(self, document: Mapping[str, Any]) -> None:
        text = self.dumps(document)
        self.answered = True
        self.out.write(text + "\n")


class _Stream:
    """`{"schema":1,"routes":[...]}` row by row; closed as valid JSON even after an error."""

    def __init__(self, output: Output, key: str) -> None:
        self._output = output
        self.open = False
        self._rows = 0
        if output.json:
            output.out.write(f'{{"schema":{SCHEMA},{json.dumps(key)}:[')
            self.open = output.answered = True

    def rows(self, documents: Sequence[object], lines: Iterable[str]) -> None:
        if not self._output.json:
            self._output.out.write("".join(f"{plain(line)}\n" for line in lines))
            return
        for document in documents:
            comma = "," if self._rows else ""
            newline = "\n" if self._output.options.pretty else ""
            self._output.out.write(comma + newline + self._output.dumps(document))
            self._rows += 1

    def finish(self, more: Mapping[str, Any]) -> None:
        if self.open:
            rest = "".join(f",{json.dumps(k)}:{self._output.dumps(v)}" for k, v in more.items())
            self._output.out.write(f"]{rest}}}\n")
            self.open = False


def plain(text: str) -> str:
    """text without what a terminal would obey, but with our own colours."""
    if text.isprintable():
        return text
    return _UNPRINTED.sub(lambda found: found[0] if found[1] else "?", text)


def table(header: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> list[str]:
    """Aligned columns; `right` names the ones that are numbers, by header."""
    numbers = set(right.split())
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *texts]) for i in range(len(header))]
    lines = []
    for row in [list(header), *texts]:
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for cell, width, name in zip(row, widths, header, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def micros(seconds_or_us: object) -> str:
    """A number of microseconds for people, three digits: "12 us", "2.9 ms", "1.2 s"."""
    if not isinstance(seconds_or_us, int | float):
        return "?"
    value = float(seconds_or_us)
    for unit, size in (("us", 1.0), ("ms", 1e3)):
        if float(f"{value / size:.3g}") < 1000:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e6:.3g} s" if value < 1e9 else f"{value / 1e6:.0f} s"


def size(count: object) -> str:
    """A number of bytes for people: "256 B", "95.0 MiB"."""
    if not isinstance(count, int | float):
        return "?"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def number(count: object) -> str:
    """A count for people: "1,200,000"."""
    return f"{count:,}" if isinstance(count, int) and not isinstance(count, bool) else str(count)


def plural(count: object, noun: str) -> str:
    """ "1 route", "2 routes"."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"
