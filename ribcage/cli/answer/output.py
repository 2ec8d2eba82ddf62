"""What a command says: the answer on stdout, messages on stderr, and the two forms of each.

With -j stdout holds exactly one JSON document, whatever happens: `{"schema":1, ...}` or
`{"schema":1,"error":{"code","message","hint"}}`. Without it, text for people, with colour only
on a terminal (or --color always) and never as the only signal. Every write to stdout is here: a
signal waits for its end (interrupt.py), and what goes wrong has a name (streams.py).
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ribcage.cli.answer import interrupt, streams
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
        self.out = sys.stdout  # kept: typer's help text is captured; None: closed by the caller
        self.reached = ""  # how far the command came: said when it is interrupted
        self._stream: _Stream | None = None

    @property
    def terminal(self) -> bool:
        """Whether a person reads the answer as it comes; then lines fit and lists are bounded."""
        return self.out is not None and self.out.isatty()

    @property
    def width(self) -> int | None:
        """Columns of the terminal ($COLUMNS wins); None for a pipe or file: nothing is wrapped."""
        return max(40, shutil.get_terminal_size((80, 24)).columns) if self.terminal else None

    def answer(self, document: Mapping[str, Any], text: str | Iterable[str]) -> None:
        """The answer: document with -j, otherwise text (lines)."""
        if self.json:
            self._write_json({"schema": SCHEMA, **document})
            return
        lines = [text] if isinstance(text, str) else text
        self.write("".join(plain(line) + "\n" for line in lines))

    def bare(self, text: str) -> None:
        """A document that is JSON as it is, for programs; with or without -j."""
        self.answered = True
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """To stdout, whole even when a signal comes. BrokenPipeError, or E_OUTPUT."""
        with interrupt.held_back():
            streams.answer(self.out, text)

    def stream(self, key: str) -> "_Stream":
        """An answer that is one long list, written while it arrives."""
        self._stream = _Stream(self, key)
        return self._stream

    def error(self, error: RibcageError, details: Mapping[str, Any] | None = None) -> None:
        """A failure: the JSON document, or two lines on stderr."""
        if not self.json:
            self._complain(error)
            return
        body = {**error.to_json(), **(details or {})}
        if self._stream is not None and self._stream.open:
            self._stream.finish({"error": body})
        elif not self.answered:
            self._write_json({"schema": SCHEMA, "error": body})

    def lost(self, error: RibcageError) -> None:
        """E_OUTPUT: stderr is all that is left, with -j too."""
        self._complain(error)

    def _complain(self, error: RibcageError) -> None:
        if (summary := getattr(error, "summary", None)) is not None:
            streams.written(f"{plain(summary)}\n")  # the problems themselves are above it
            return
        label = self.paint(f"error[{error.code}]", "red", sys.stderr)
        hints = [f"  {plain(line)}\n" for line in (error.hint or "").splitlines()]
        streams.written(f"{label}: {plain(error.message)}\n" + "".join(hints))

    def say(self, text: str) -> None:
        """A message for people, on stderr; -q silences it."""
        if not self.options.quiet:
            streams.written(plain(text) + "\n")

    def paint(self, text: str, colour: str, stream: Any = None) -> str:
        """text in colour, where colour is wanted."""
        target = stream or self.out
        when = self.options.color
        if when == "auto":
            term = os.environ.get("TERM", "") != "dumb" and not os.environ.get("NO_COLOR")
            when = "always" if term and target is not None and target.isatty() else "never"
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if when == "always" else text

    def dumps(self, document: object) -> str:
        """JSON text as -p asks; NaN never leaves, since it is not JSON."""
        if self.options.pretty:
            return json.dumps(document, indent=2, allow_nan=False)
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    def _write_json(self, document: Mapping[str, Any]) -> None:
        text = self.dumps(document)
        self.answered = True
        self.write(text + "\n")


class _Stream:
    """`{"schema":1,"routes":[...]}` page by page; closed as valid JSON even after an error."""

    def __init__(self, output: Output, key: str) -> None:
        self._output = output
        self.open = False
        self._rows = 0
        if output.json:
            output.write(f'{{"schema":{SCHEMA},{json.dumps(key)}:[')
            self.open = output.answered = True

    def rows(self, documents: Sequence[object], lines: Iterable[str]) -> None:
        if not self._output.json:
            self._output.write("".join(f"{plain(line)}\n" for line in lines))
            return
        between = ",\n" if self._output.options.pretty else ","
        before = (between if self._rows else between[1:]) if documents else ""
        self._output.write(before + between.join(map(self._output.dumps, documents)))
        self._rows += len(documents)

    def finish(self, more: Mapping[str, Any]) -> None:
        if self.open:
            rest = "".join(f",{json.dumps(k)}:{self._output.dumps(v)}" for k, v in more.items())
            self._output.write(f"]{rest}}}\n")
            self.open = False


def plain(text: str) -> str:
    """text without what a terminal would obey, but with our own colours."""
    if text.isprintable():
        return text
    return _UNPRINTED.sub(lambda found: found[0] if found[1] else "?", text)
