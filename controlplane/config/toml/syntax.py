"""Parses TOML text into values, or into E001 problems that say how to write it right.

tomllib stops at its first error and says where its own reading stopped, which is the end of the
file for a bracket or a quote left open. Here the place is the one a person has to change, and
where a bad line is plainly `key = value` it is set aside and reading goes on, so that several
slips in one file are all told at once.
"""

import re
import tomllib
from typing import Any

from ribcage.controlplane.config.toml.positions import Positions
from ribcage.controlplane.config.toml.problems import Problem, Span

MAX_SLIPS = 20
LISTS = ("interface", "route")  # written [[name]]

_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_STATEMENT = re.compile(r"\s*([A-Za-z0-9_.\-\"']+)\s*=\s*(.*?)\s*(?:#.*)?$")
_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def parse(text: str) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The document, or None and at least one E001. Never raises; any process."""
    problems: list[Problem] = []
    while len(problems) < MAX_SLIPS:
        try:
            data = tomllib.loads(text)
        except RecursionError:
            problems.append(Problem("E001", "not valid TOML: nested too deeply", Span(1, 1)))
            break
        except ValueError as error:
            problems.append(_problem(text, str(error)))
            if (rest := _without_line(text, problems[-1].span.line)) is None:
                break
            text = rest
        else:
            return (None if problems else data), problems
    return None, problems


def _problem(text: str, said: str) -> Problem:
    positions = Positions(text)
    place = _PLACE.search(said)
    what = said[: place.start()] if place else said
    what = what[:1].lower() + what[1:160]
    if place is None:  # int() refused a number of thousands of digits; it does not say where
        return Problem("E001", "not valid TOML: a number is too long", _longest(text))
    twice = what.startswith(("cannot overwrite", "cannot declare", "cannot mutate"))
    if twice and positions.doubled is not None:
        first, second = positions.doubled
        name = _line(text, second)[second.column - 1 :][: second.length]
        hint = "delete one of the two"
        if (bare := name.strip("[] ")) in LISTS:
            hint = f"write [[{bare}]] for each {bare}"
        return Problem(
            "E001", f"not valid TOML: {name} is defined twice", second, hint, first,
            "first defined here",
        )  # fmt: skip
    if place[1] is None and not positions.complete:
        span = positions.lost()
    elif place[1] is None:
        lines = text.rstrip().split("\n")
        span = Span(len(lines), max(1, len(lines[-1])))
    else:
        span = Span(int(place[1]), int(place[2]))
    return Problem("E001", f"not valid TOML: {what}", span, _fix(_line(text, span), span, what))


def _fix(line: str, span: Span, what: str) -> str | None:
    """The line as it probably should be."""
    stripped = line.strip()
    if what.startswith("cannot"):
        return "it already means something else above"
    if any(quote in line for quote in "“”‘’„"):
        return 'use straight quotes: "'
    if what.startswith(("unterminated", 'expected "\'"', "illegal character")):
        return "close the quote on this line"
    if what.startswith("unclosed array"):
        return "this [ is never closed by ]"
    if stripped.startswith("[") and "=" not in stripped:
        name = stripped.split("#")[0].strip(" []")
        return f"a heading is [[{name}]]" if name in LISTS else f"a heading is [{name}]"
    if "\\" in what:
        return "a backslash in a string is written \\\\"
    if found := re.match(r"\s*([\w-]+)\s*:\s*(.+)", line):
        return f"TOML writes key = value: {found[1]} = {found[2]}"
    found = _STATEMENT.match(line)
    if found is None or (span.line and found[2][:1] in ('"', "'", "[", "{")):
        return "one key = value on each line" if found is None else None
    key, value = found[1], found[2]
    if " = " in value:
        return "one key = value on each line"
    if not value:
        return f'a value is missing: {key} = "..."'
    if value.lower() in ("true", "false"):
        return f"{key} = {value.lower()}"
    if value.lower() in _WORDS:
        return f"{key} = {_WORDS[value.lower()]}"
    return f'strings need quotes: {key} = "{value[:80]}"'


def _without_line(text: str, number: int) -> str | None:
    """text with a one-line statement blanked, or None when the error may span lines."""
    lines = text.split("\n")
    found = _STATEMENT.match(lines[number - 1])
    if found is None or any(mark in found[2] for mark in ("[", "{", '"""', "'''")):
        return None
    lines[number - 1] = ""
    return "\n".join(lines)


def _line(text: str, span: Span) -> str:
    lines = text.split("\n")
    return lines[span.line - 1] if span.line <= len(lines) else ""


def _longest(text: str) -> Span:
    """The longest run of digits."""
    found = max(re.finditer(r"[0-9A-Za-z_+-]+", text), key=lambda m: m.end() - m.start())
    start = text.rfind("\n", 0, found.start()) + 1
    return Span(
        text.count("\n", 0, found.start()) + 1,
        found.start() - start + 1,
        found.end() - found.start(),
    )
