"""Aligned columns that fit a terminal and are never cut: what is too wide is wrapped.

    for line in table(("ROLE", "IF IT DIES"), rows, right="PID", width=80, wrap="IF IT DIES"):

`width` None (a pipe, a file) is one line a row, as wide as it has to be: programs read that.
On a terminal the columns that `wrap` names give way, in that order; a table that does not fit
even so becomes a block of `NAME value` pairs a row. Pure.
"""

import re
from collections.abc import Iterator, Sequence

GAP = "  "
NARROWEST = 8  # characters that a wrapped column keeps


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    right: str = "",
    width: int | None = None,
    wrap: Sequence[str] = (),
) -> list[str]:
    """The lines of a table; `right` names the columns of numbers, by header."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *texts]) for i in range(len(header))]
    if width is not None and not _fit(header, texts, widths, width, wrap):
        return list(_blocks(header, texts, width))
    numbers = set(right.split())
    lines = []
    for row in [list(header), *texts]:
        for cells in _physical(row, widths):
            aligned = [
                cell.rjust(width) if name in numbers else cell.ljust(width)
                for cell, width, name in zip(cells, widths, header, strict=True)
            ]
            lines.append(GAP.join(aligned).rstrip())
    return lines


def hanging(head: str, text: str, width: int | None) -> list[str]:
    """head and text on one line; on a terminal what is too long goes on below text."""
    if width is None or len(head) + len(text) <= width:
        return [(head + text).rstrip()]
    room = max(NARROWEST, width - len(head))
    first, *rest = wrapped(text, room)
    return [head + first, *(" " * len(head) + line for line in rest)]


def wrapped(text: str, width: int) -> list[str]:
    """text in lines of at most `width`, broken at blanks and after commas; words stay whole."""
    lines = [""]
    for piece in re.split(r"(?<=[ ,])", text):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _fit(
    header: Sequence[str],
    texts: Sequence[Sequence[str]],
    widths: list[int],
    width: int,
    wrap: Sequence[str],
) -> bool:
    """Narrows the columns that may be; whether the table fits then."""
    over = sum(widths) + len(GAP) * (len(widths) - 1) - width
    for name in wrap if over > 0 else ():
        if name in header:
            i = list(header).index(name)
            words = [word for row in texts for word in row[i].replace(",", ", ").split()]
            longest = max((len(word) for word in words), default=0)
            given = min(over, max(0, widths[i] - max(len(name), longest, NARROWEST)))
            widths[i] -= given
            over -= given
    return over <= 0


def _physical(row: Sequence[str], widths: Sequence[int]) -> Iterator[list[str]]:
    """The lines of one row: one, or more where a cell is wider than its column."""
    cells = [
        [cell] if len(cell) <= width else wrapped(cell, width)
        for cell, width in zip(row, widths, strict=True)
    ]
    for i in range(max((len(cell) for cell in cells), default=0)):
        yield [cell[i] if i < len(cell) else "" for cell in cells]


def _blocks(header: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """A row as its first cell, and the others below it with their names."""
    for row in texts:
        yield row[0]
        pairs = [f"{name} {cell}" for name, cell in zip(header[1:], row[1:], strict=True)]
        line = ""
        for pair in pairs:
            if line and len(line) + len(GAP) + len(pair) > width:
                yield line
                line = ""
            line = line + GAP + pair if line else GAP + pair
            if len(line) > width:
                yield from hanging(GAP, line.strip(), width)
                line = ""
        if line:
            yield line
