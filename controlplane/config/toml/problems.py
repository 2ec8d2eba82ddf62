"""The problems of a configuration file, and how one is printed.

    b2.toml:16:7: error[E104]: mtu 90000 is outside 576..65535
       16 | mtu = 90000
          |       ^^^^^ jumbo frames are usually 9000
       12 | mtu = 1500   <- first used here            (the other place of a conflict)

A Problem is a value; rendering never fails, whatever bytes the file holds: what a terminal
would obey is shown as `?`, and a long line is cut around the caret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ribcage.shared.codes import remedy

WINDOW = 110  # columns of a source line that are shown

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Span:
    """length characters from line and column (both from 1), within the line; line 0: the file."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. other is the second place of a conflict, other_note what stands there."""

    code: str
    message: str
    span: Span
    hint: str | None = None
    other: Span | None = None
    other_note: str = "first used here"

    def __post_init__(self) -> None:
        if self.hint is None:  # as RibcageError: what `ribcage help error` advises
            object.__setattr__(self, "hint", remedy(self.code))

    @property
    def severity(self) -> Severity:
        return "warning" if self.code.startswith("W") else "error"


class ConfigErrors(Exception):
    """The file was refused; report holds every error and warning found in it."""

    def __init__(self, report: "ConfigReport") -> None:
        super().__init__(report.summary())
        self.report = report


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """All problems of one file, in file order, with the text they point into."""

    file: str
    text: str
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> int:
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def warnings(self) -> int:
        return len(self.problems) - self.errors

    def summary(self) -> str:
        """ "b2.toml: 11 errors, 3 warnings; nothing was applied", or "b2.toml: OK"."""
        counts = f"{_count(self.errors, 'error')}, {_count(self.warnings, 'warning')}"
        if self.errors:
            return f"{self.file}: {counts}; nothing was applied"
        return f"{self.file}: OK" + (f" ({counts})" if self.problems else "")

    def render(self) -> str:
        """Every problem with its source line, caret and hint; no summary."""
        lines = self.text.split("\n")
        return "\n".join(part for p in self.problems for part in _render(self.file, lines, p))

    def to_json(self) -> list[dict[str, object]]:
        """The problems for machines: the same facts, with the source line."""
        lines = self.text.split("\n")
        return [_to_json(self.file, lines, problem) for problem in self.problems]


def in_file_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda p: (p.span.line, p.span.column, p.code)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _render(file: str, lines: list[str], p: Problem) -> list[str]:
    if p.span.line == 0:  # about the file as a whole
        below = [f"  {_plain(p.hint)}"] if p.hint else []
        return [f"{file}: {p.severity}[{p.code}]: {_plain(p.message)}", *below]
    where = f"{file}:{p.span.line}:{p.span.column}"
    out = [f"{where}: {p.severity}[{p.code}]: {_plain(p.message)}"]
    source, shift = _excerpt(lines, p.span)
    width = max(5, len(str(p.span.line)), len(str(p.other.line)) if p.other else 0)
    out.append(f"{p.span.line:>{width}} | {source}".rstrip())
    start = p.span.column - 1 - shift
    carets = "^" * max(1, min(p.span.length, len(source) - start))
    hint = f" {_plain(p.hint)}" if p.hint else ""
    out.append(f"{'':>{width}} | {'':{start}}{carets}{hint}")
    if p.other is not None:
        first, _ = _excerpt(lines, p.other)
        out.append(f"{p.other.line:>{width}} | {first}   <- {p.other_note}")
    return out


def _to_json(file: str, lines: list[str], p: Problem) -> dict[str, object]:
    answer: dict[str, object] = {
        "code": p.code,
        "severity": p.severity,
        "message": p.message,
        "hint": p.hint,
        "file": file,
        "line": p.span.line,
        "column": p.span.column,
        "length": p.span.length,
        "source": _line(lines, p.span.line)[:4096],
    }
    if p.other is not None:
        answer["other"] = {
            "line": p.other.line,
            "column": p.other.column,
            "length": p.other.length,
            "note": p.other_note,
        }
    return answer


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _excerpt(lines: list[str], span: Span) -> tuple[str, int]:
    """The source line as it may be printed, and how many characters were cut off its left."""
    line = _plain(_line(lines, span.line).rstrip("\r"))
    if len(line) <= WINDOW:
        return line, 0
    start = min(max(0, span.column - 1 - WINDOW // 3), max(0, len(line) - WINDOW))
    return line[start : start + WINDOW], start


def _plain(text: str) -> str:
    """One printable character a character, so that carets stay under what they point at."""
    return "".join(c if c.isprintable() else " " if c in "\t\n" else "?" for c in text)
