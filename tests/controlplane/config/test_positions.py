"""The position index finds every value tomllib finds, at its own place."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.config.toml.positions import Positions

EXAMPLE = (Path(__file__).resolve().parents[3] / "docs" / "ribcage.toml").read_text()
CORNERS = """\
# comment = "not a key"
a.b."c d".'e' = 1 # dotted and quoted
"tab\\tkey" = 'literal # no comment'
[ t . u ]
date = 1979-05-27 07:32:00
multi = [ # comment ]
  "x, ] }", 'y', # another
  [1, 2,], { p = 1, q.r = [ true ] },
]
text = \"\"\"
several "quoted" lines \\
# not a comment
\"\"\"
lines = '''
key = 1
'''
[[list]]
n = -1_000.5e3
[list.sub]
k = 0xff
[[list]]
[[list.deep]]
z = {}
[[list.deep]]
z = []
[list.deep.end]
"é" = "unicode é"
"""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from paths(item, (*path, number))


@pytest.mark.parametrize("text", [EXAMPLE, CORNERS], ids=["example", "corners"])
def test_every_value_stands_where_the_index_says(text: str) -> None:
    """The text at a one-line value's span reads as that value; its key is left of it."""
    positions = Positions(text)
    assert positions.complete
    lines = text.split("\n")
    checked = 0
    for path, value in paths(tomllib.loads(text)):
        span = positions.value(path)
        if isinstance(value, dict) and not positions.knows(path):
            continue  # a table made of dotted keys has no place of its own
        assert positions.knows(path), path
        if isinstance(value, dict | list) or "\n" in str(value):
            continue
        source = lines[span.line - 1][span.column - 1 : span.column - 1 + span.length]
        assert tomllib.loads(f"x = {source}")["x"] == value, path
        key = positions.key(path)
        assert (key.line, key.column) <= (span.line, span.column)
        checked += 1
    assert checked > 10


def test_keys_and_statements_have_their_own_spans() -> None:
    """A dotted key's last part, and the whole statement."""
    positions = Positions('[a]\nb.cd = "x" # y\n')
    assert positions.key(("a", "b", "cd")).column == 3
    statement = positions.statement(("a", "b", "cd"))
    assert (statement.column, statement.length) == (3, 8)


def test_a_path_without_a_place_answers_with_its_parent() -> None:
    """Defaults and missing keys point at the table they belong to."""
    positions = Positions("[a]\nb = 1\n[[c]]\n[[c]]\n")
    assert positions.value(("a", "nothing")).line == 1
    assert positions.value(("c", 1, "name")).line == 4
    assert positions.value(("z",)).line == 1


def test_a_bracket_left_open_is_found() -> None:
    """lost() is the innermost one."""
    positions = Positions("a = [1,\n  [2, 3\n")
    assert not positions.complete
    assert (positions.lost().line, positions.lost().column) == (2, 3)
