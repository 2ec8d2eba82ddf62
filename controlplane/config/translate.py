"""From pydantic's findings to ours: code, words, place and what to write instead. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ribcage.controlplane.config.model import LATER, TABLES, File, keys_of
from ribcage.controlplane.config.toml.positions import KeyPath, Positions
from ribcage.controlplane.config.toml.problems import Problem, Span
from ribcage.controlplane.config.toml.suggest import closest
from ribcage.controlplane.config.toml.syntax import LISTS
from ribcage.controlplane.config.types import kind_of

MAX_PROBLEMS = 200

# pydantic's error type -> what we call the thing it wanted
_WANTED = {
    "int_type": "a whole number",
    "string_type": "a string",
    "bool_type": "true or false",
    "float_type": "a number",
    "list_type": "a list",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}


def validate(data: Mapping[str, Any], positions: Positions) -> tuple[File | None, list[Problem]]:
    """The typed file, or None and every problem of shape, type and range."""
    try:
        return File.model_validate(data), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [_problem(one, positions) for one in found[:MAX_PROBLEMS]]
        return None, problems


def place_name(path: Sequence[str | int]) -> str:
    """ "[fib]", "[[route]]", "the file"."""
    names = [part for part in path if isinstance(part, str)]
    if not names:
        return "the file"
    if len(names) == 1 and names[0] in LISTS:
        return f"[[{names[0]}]]"
    return "[" + ".".join(names) + "]"


def _problem(error: Any, positions: Positions) -> Problem:
    path: KeyPath = tuple(error["loc"])
    kind: str = error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, positions)
    if kind == "missing":
        message = f"{place_name(path[:-1])} needs {path[-1]}"
        return Problem("E105", message, positions.value(path[:-1]), f"{path[-1]} = ...")
    key = _key(path)
    if kind in _WANTED:
        return _wrong_type(kind, path, error["input"], positions)
    if kind == "too_short":
        return Problem("E104", f"{key} is empty", positions.value(path), "leave it out")
    # Only our own texts: what pydantic says is for programmers.
    message = str(context.get("text", "{key} cannot have this value")).replace("{key}", key)
    code = kind if kind.startswith("E1") else "E100"
    span = positions.statement(path) if code == "E102" else positions.value(path)
    return Problem(code, message, span, context.get("hint"))


def _unknown_key(path: KeyPath, positions: Positions) -> Problem:
    names = tuple(part for part in path if isinstance(part, str))
    table, key = names[:-1], str(names[-1]) if names else "?"
    known = keys_of(TABLES.get(table, File))
    if names in LATER:
        hint = f"not in this build: {LATER[names]}"
    else:
        guess = closest(key, known)
        hint = f'did you mean "{guess}"? ' if guess else ""
        if not guess and (homes := [t for t, m in TABLES.items() if key in keys_of(m) and t]):
            hint = f"{key} belongs under {place_name(homes[0])}; "
        hint += f"known keys: {', '.join(known)}"
    message = f'unknown key "{key[:60]}" in {place_name(path[:-1])}'
    return Problem("E101", message, _key_span(path, positions), hint)


def _key_span(path: KeyPath, positions: Positions) -> Span:
    return positions.key(path)


def _wrong_type(kind: str, path: KeyPath, value: object, positions: Positions) -> Problem:
    wanted, key = _WANTED[kind], _key(path)
    hint = None
    if isinstance(value, str) and wanted == "a whole number":
        hint = "remove the quotes" if value.replace("_", "").isdecimal() else None
    elif isinstance(value, str) and wanted == "true or false":
        hint = f"write {key} = true or {key} = false"
    elif wanted == "a string" and isinstance(value, int | float):
        hint = f'add quotes: "{str(value).lower()}"' if isinstance(value, bool) else "add quotes"
    elif wanted == "a list":
        listed = path[-1] in LISTS and len(path) == 1
        hint = f"write [[{key}]] for each {key}" if listed else f"write {key} = [...]"
    elif wanted == "a table":
        single = isinstance(value, list) and value and isinstance(value[0], dict)
        hint = f"write [{key}], once" if single else f"write [{key}] and its keys below"
    message = f"{key} must be {wanted}, not {kind_of(value)}"
    return Problem("E102", message, positions.statement(path), hint)


def _key(path: KeyPath) -> str:
    """The key a path ends in, without list indexes."""
    return next((str(part) for part in reversed(path) if isinstance(part, str)), "the file")
