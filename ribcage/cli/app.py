"""The tree of commands: object, then verb. One file an object beside this one.

A new command is its file, with a `register(app)` that says its name, and its name below. typer
builds the tree from the functions' signatures; only the file of the command that is asked for is
imported, so that the shortest commands stay short.
"""

from collections.abc import Sequence
from importlib import import_module

import typer

from ribcage.cli.answer.misuse import unknown_command
from ribcage.cli.options import HELP as GLOBAL_HELP

# The modules beside this one, each a command of that name, in the order of --help; there those with
# verbs of their own stand behind the others.
COMMANDS = (
    "run",
    "stop",
    "reload",
    "upgrade",
    "ps",
    "route",
    "explain",
    "fib",
    "checkpoint",
    "stats",
    "drops",
    "config",
    "bench",
    "lab",
    "fault",
    "doctor",
    "gc",
    "undo",
    "version",
    "help",
)
# What `show` may stand before: they look and change nothing (`show stop` must not stop).
LOOKING = ("ps", "stats", "drops", "version", "doctor")
HELP = (
    "\b\nExamples:\n  ribcage run -c ribcage.toml\n  ribcage route show\n\n\b\n"
    + GLOBAL_HELP
    + "\n\b\nExit status: 0 done or yes, 1 no, 2 usage, 3 config, 4 no router, 5 privilege,\n"
    "6 timeout, 7 internal, 8 already running, 9 answer not written,\n"
    "130 Ctrl-C, 141 reader gone, 143 terminated."
)


def build(words: Sequence[str] | None = None) -> typer.Typer:
    """The whole command; with the words of a line, only what that line needs of it."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
        help=HELP,
    )
    app.callback()(_root)
    wanted = [words[0]] if words and words[0] in COMMANDS and words[0] != "help" else COMMANDS
    for name in wanted:
        import_module(f"ribcage.cli.{name}").register(app)
    return app


def _root() -> None:
    """Global options are taken out of the line before typer sees it: options.py."""


def alias(words: list[str]) -> list[str]:
    """`show route` = `route show`, `show ps` = `ps`, as other routers have it."""
    if not words or words[0] not in ("show", "sh"):
        return words
    asked = words[1] if len(words) > 1 else ""
    if asked in ("route", "fib"):
        return [asked, "show", *words[2:]]
    if asked in LOOKING:
        return words[1:]
    raise unknown_command(asked, "ribcage", ("route", "fib", *LOOKING), asked="show")
