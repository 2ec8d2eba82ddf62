"""refused(): each call supplies what the forms of its rows ask for."""

import ast
import errno
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.shared.refusals import REFUSALS, refused

ROOT = Path(__file__).resolve().parents[2]
PLANES = ("controlplane", "dataplane", "shared")
OWN = {"call", "why"}  # supplied by refused() itself


def asked_for(call: str) -> set[str]:
    """The words in braces of all rows of a call."""
    forms = [form for (name, _), row in REFUSALS.items() if name == call
             for form in (row.message, row.hint or "")]  # fmt: skip
    return {word for form in forms for _, word, _, _ in string.Formatter().parse(form) if word}


def facts_of(function: ast.FunctionDef) -> list[str]:
    """What a `_checked` hands to refused() beside the result: its own names, as it passes them."""
    inner = [one for one in ast.walk(function) if isinstance(one, ast.Call)
             and ast.unparse(one.func) == "refused"]  # fmt: skip
    return [key.arg for one in inner for key in one.keywords if key.arg is not None]


def calls(path: Path) -> Iterator[tuple[str, set[str]]]:
    """(call, facts) of each refusal in a file, those through the file's `_checked` included."""
    tree = ast.parse(path.read_text())
    through: dict[str, list[str]] = {
        node.name: facts_of(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "_checked"
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name, first = ast.unparse(node.func), node.args[0]
        if name not in ("refused", *through) or not isinstance(first, ast.Constant):
            continue
        facts = {key.arg for key in node.keywords if key.arg is not None}
        yield str(first.value), facts | set(through.get(name, ()))


FOUND = [(str(path.relative_to(ROOT)), call, facts)
         for plane in PLANES for path in sorted((ROOT / plane).rglob("*.py"))
         for call, facts in calls(path)]  # fmt: skip


@pytest.mark.parametrize(("path", "call", "facts"), FOUND)
def test_a_refusal_is_given_all_that_its_text_names(path: str, call: str, facts: set[str]) -> None:
    """A word that nobody supplies would be a KeyError instead of the error."""
    assert asked_for(call) - OWN <= facts, path


def test_every_row_has_a_call() -> None:
    """A row under a name that nobody asks for is never used."""
    assert {call for call, _ in REFUSALS} <= {call for _, call, _ in FOUND}


def test_a_call_without_a_row_is_an_internal_error() -> None:
    """With the call and the errno in words, of either sign."""
    for number in (errno.EIO, -errno.EIO):
        error = refused("no_such_call", number)
        assert (error.code, error.message) == ("E_INTERNAL", "no_such_call: Input/output error")
