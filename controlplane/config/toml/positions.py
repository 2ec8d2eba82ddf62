"""Finds where every key and value of a TOML text stands: line, column, length.

tomllib gives values without positions. This index walks the same text once more and notes, for
each path such as ("interface", 1, "address", 0), the span of the key and of the value.

    index = Positions(text)
    index.value(("interface", 1, "mtu"))        -> Span(16, 7, 5)
    index.key(("fib", "stratgy"))               -> Span(8, 1, 7)
    index.statement(("fib", "max_routes4"))     -> key, `=` and value

It expects a text that tomllib has accepted and does not check it. On any other text it stops
where it loses its way (`complete` is False) and keeps what it has, so that a syntax error can
still name the first place of a doubled key. A path it does not know answers with the nearest
parent it knows.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

from ribcage.controlplane.config.toml.problems import Span

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")  # inside arrays: newlines and comments too
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
MAX_DEPTH = 100


class _Lost(Exception):
    """The text is not what tomllib would have accepted."""


class Positions:
    """Spans of all keys and values of one TOML text. Pure; any process."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self._keys: dict[KeyPath, tuple[int, int]] = {}
        self._values: dict[KeyPath, tuple[int, int]] = {}
        self._lengths: dict[KeyPath, int] = {}  # of arrays of tables
        self._at = 0
        self._open: list[int] = []  # where brackets stand that are not closed yet
        self.complete = True
        self.doubled: tuple[Span, Span] | None = None  # first and second place of a key
        try:
            self._document()
        except _Lost:
            self.complete = False

    def lost(self) -> Span:
        """Where the walk stopped: at the innermost bracket still open, if there is one."""
        start = self._open[-1] if self._open else self._at
        return self._span((start, start + 1))

    def key(self, path: KeyPath) -> Span:
        """The key of path; of an array's element, the element itself."""
        return self._span(self._nearest(path, self._keys, self._values))

    def value(self, path: KeyPath) -> Span:
        """The value of path; of a table, its header."""
        return self._span(self._nearest(path, self._values, self._keys))

    def statement(self, path: KeyPath) -> Span:
        """From the key to the end of its value, as far as they share a line."""
        key, value = self._keys.get(path), self._values.get(path)
        if key is None or value is None:
            return self.value(path)
        return self._span((key[0], value[1]))

    def knows(self, path: KeyPath) -> bool:
        return path in self._keys or path in self._values

    def _nearest(self, path: KeyPath, *maps: dict[KeyPath, tuple[int, int]]) -> tuple[int, int]:
        for depth in range(len(path), 0, -1):
            for found in maps:
                if path[:depth] in found:
                    return found[path[:depth]]
        return (0, 0)

    def _span(self, place: tuple[int, int]) -> Span:
        start, end = place
        line = bisect_right(self._starts, start)
        newline = self._text.find("\n", start)
        end = min(end, newline if newline >= 0 else len(self._text))
        return Span(line, start - self._starts[line - 1] + 1, max(1, end - start))

    # -- the walk; self._at is the next character

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        return found.group()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise _Lost

    def _document(self) -> None:
        base: KeyPath = ()
        while True:
            self._match(_SPACE)
            if self._at >= len(self._text):
                return
            if self._peek() == "[":
                base = self._header()
            else:
                self._pair(base, 0)

    def _header(self) -> KeyPath:
        """[a.b] or [[a.b]]: returns the path that the following keys belong to."""
        start = self._at
        double = self._take("[[")
        if not double:
            self._need("[")
        parts = self._dotted()
        self._need("]]" if double else "]")
        path: KeyPath = ()
        for name, _ in parts[:-1]:
            path = self._element((*path, name))
        path = (*path, parts[-1][0])
        if double:
            count = self._lengths[path] = self._lengths.get(path, 0) + 1
            self._keys.setdefault(path, (start, self._at))
            path = (*path, count - 1)
        else:
            path = self._element(path)
            self._note_double(path, (start, self._at))
        self._keys.setdefault(path, (start, self._at))
        self._values.setdefault(path, (start, self._at))
        return path

    def _note_double(self, path: KeyPath, place: tuple[int, int]) -> None:
        if path in self._values and self.doubled is None:
            self.doubled = self._span(self._keys[path]), self._span(place)

    def _element(self, path: KeyPath) -> KeyPath:
        """A name that is an array of tables means its last table."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, base: KeyPath, depth: int) -> None:
        parts = self._dotted()
        path = base
        for name, place in parts:
            path = (*path, name)
            self._keys.setdefault(path, place)
        self._note_double(path, parts[-1][1])
        self._need("=")
        self._match(_BLANK)
        self._value(path, depth)

    def _dotted(self) -> Sequence[tuple[str, tuple[int, int]]]:
        parts = []
        while True:
            self._match(_BLANK)
            start = self._at
            quoted = self._peek() in ('"', "'")
            raw = self._match(_STRING if quoted else _BARE)
            parts.append((_unquote(raw) if quoted else raw, (start, self._at)))
            self._match(_BLANK)
            if not self._take("."):
                return parts

    def _value(self, path: KeyPath, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Lost
        start = self._at
        first = self._peek()
        if first in ('"', "'"):
            self._match(_STRING)
        elif first == "[":
            self._array(path, depth)
        elif first == "{":
            self._inline(path, depth)
        else:
            self._at = start + len(self._match(_SCALAR).rstrip())
            if self._at == start:
                raise _Lost
        self._values.setdefault(path, (start, self._at))

    def _array(self, path: KeyPath, depth: int) -> None:
        self._open.append(self._at)
        self._need("[")
        index = 0
        while not self._closed("]"):
            self._value((*path, index), depth + 1)
            index += 1
            self._match(_SPACE)
            if not self._take(",") and self._peek() != "]":
                raise _Lost

    def _inline(self, path: KeyPath, depth: int) -> None:
        self._open.append(self._at)
        self._need("{")
        while not self._closed("}"):
            self._pair(path, depth + 1)
            self._match(_SPACE)
            if not self._take(",") and self._peek() != "}":
                raise _Lost

    def _closed(self, bracket: str) -> bool:
        self._match(_SPACE)
        if not self._take(bracket):
            return False
        self._open.pop()
        return True


def _unquote(raw: str) -> str:
    """The text of a quoted key."""
    if raw[0] == "'":
        return raw[1:-1]

    def plain(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        if code is None:
            return _ESCAPES.get(found[3], found[3])
        return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else ""

    return _ESCAPE.sub(plain, raw[1:-1])
