"""Lines that typer cannot read, told in our words: its own texts never reach the user.

    raise misused(error, app)        # a typer usage error becomes a RibcageError, exit 2

typer says what is wrong in the words of the libraries below it ("Input should be a valid
integer, unable to parse string"); here each kind of mistake names the word that was met, what is
taken there, and the nearest word that is known.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ribcage.cli.session import usage
from ribcage.controlplane.config.toml.suggest import closest
from ribcage.shared.errors import RibcageError

# What other routers and tools call it -> what it is called here.
ELSEWHERE = {
    "start": "run", "up": "run", "daemon": "run", "serve": "run",
    "down": "stop", "kill": "stop", "quit": "stop", "shutdown": "stop",
    "status": "ps", "processes": "ps", "top": "ps", "workers": "ps",
    "counters": "stats", "statistics": "stats", "interfaces": "stats", "interface": "stats",
    "ports": "stats", "link": "stats", "trace": "explain", "lookup": "explain",
    "errors": "drops", "drop": "drops", "check": "config", "configuration": "config",
    "test": "doctor", "apply": "reload", "rib": "route", "ip": "route", "routes": "route",
    "list": "show", "ls": "show", "dump": "show", "delete": "del", "remove": "del", "rm": "del",
    "replace": "add", "append": "add", "change": "add", "find": "get", "import": "load",
    "validate": "check", "compare": "verify",
}  # fmt: skip
_BOUNDS = (("ge", "below"), ("gt", "not above"), ("le", "above"), ("lt", "not below"))
_QUOTED = re.compile(r"'([^']*)'")


def misused(error: Any, words: Sequence[str] = ()) -> RibcageError:
    """E_USAGE for a typer error about a line of `words`. Knows kinds by name: typer moves its
    classes about."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else " ".join(["ribcage", *words[:1]])
    help_hint = f"see: {path} --help"
    kind = type(error).__name__
    if kind == "NoArgsIsHelpError":
        return usage(f"{path}: a command is missing", help_hint)
    if kind == "NoSuchOption":
        word = str(error.option_name)
        return usage(
            f"{path} has no option {word[:40]}", _nearest(word, _options(context), help_hint)
        )
    if kind == "BadOptionUsage":
        takes_none = "does not take" in str(error.message)
        what = "takes no value" if takes_none else "needs a value after it"
        return usage(f"option {error.option_name} {what}", help_hint)
    if kind == "MissingParameter":
        return usage(f"{path} needs {_name(error.param)}{_told(error.param)}", help_hint)
    if kind == "BadParameter":
        return usage(_bad_value(error), help_hint)
    return _other(str(error.format_message()), context, path, help_hint)


def unknown_command(word: str, path: str, known: Iterable[str], asked: str = "") -> RibcageError:
    """`ribcage rout`: the nearest command, or all there are. `asked`: a verb that came first."""
    words = list(known)
    guess = ELSEWHERE.get(word.lower())
    guess = guess if guess in words else closest(word, words)
    there = f"commands: {', '.join(words)}"
    line = " ".join(part for part in (path, asked, word) if part)
    return usage(
        f"{path}: {asked} what?" if asked and not word else f"there is no command {line[:60]!r}",
        f"did you mean: {path} {f'{asked} '.lstrip()}{guess}?" if guess else there,
    )


def _other(said: str, context: Any, path: str, hint: str) -> RibcageError:
    """Unknown commands and words too many have no class of their own."""
    quoted = _QUOTED.search(said)
    known = list(getattr(getattr(context, "command", None), "commands", {}))
    if known and quoted and "command" in said.lower():
        return unknown_command(quoted[1], path, known)
    if "unexpected extra argument" in said:
        words = said[said.rfind("(") + 1 :].rstrip(").")
        return usage(f"{path}: too many words: {words[:60]}", hint)
    return usage(f"{path}: this line cannot be read", hint)


def _bad_value(error: Any) -> str:
    """The value, and what is wrong with it; from pydantic's facts, not from its words."""
    name = _name(error.param) if error.param is not None else "a value"
    facts = _facts(error)
    value, kind, limits = facts.get("input"), str(facts.get("type", "")), facts.get("ctx") or {}
    shown = repr(value)[:44] if isinstance(value, str) else str(value)[:44]
    if kind.startswith("int"):
        return f"{name} {shown} is not a whole number"
    if kind.startswith(("float", "finite")):
        return f"{name} {shown} is not a number"
    if kind.startswith("bool"):
        return f"{name} {shown} is not yes or no"
    for key, word in _BOUNDS:
        if key in limits:
            low, high = getattr(error.param, "min", None), getattr(error.param, "max", None)
            told = f"outside {low}..{high}" if None not in (low, high) else f"{word} {limits[key]}"
            return f"{name} {shown} is {told}"
    return f"{name} cannot be that{_told(error.param)}"


def _facts(error: Any) -> dict[str, Any]:
    cause = error.__cause__
    found = cause.errors(include_url=False) if hasattr(cause, "errors") else []
    return dict(found[0]) if found else {}


def _name(param: Any) -> str:
    """ "--family" or "ROUTE"."""
    if getattr(param, "param_type_name", "") == "option":
        return str(max(param.opts, key=len))
    return str(getattr(param, "metavar", None) or getattr(param, "name", None) or "a word").upper()


def _told(param: Any) -> str:
    """What the help says about a parameter."""
    text = getattr(param, "help", None)
    return f": {text}" if text else ""


def _options(context: Any) -> list[str]:
    command = getattr(context, "command", None)
    return [name for param in getattr(command, "params", ()) for name in param.opts
            if name.startswith("--")]  # fmt: skip


def _nearest(word: str, known: list[str], otherwise: str) -> str:
    guess = closest(word.lstrip("-"), [name.lstrip("-") for name in known])
    return f"did you mean --{guess}?" if guess else otherwise
