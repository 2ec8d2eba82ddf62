"""`ribcage checkpoint`: writes a router's routes into their file now."""

import typer

from ribcage.cli.answer.units import plural
from ribcage.cli.session import session_of

HELP = """\b
Examples:
  ribcage checkpoint
  ribcage -j checkpoint

\b
For a router with checkpoint = true in [rib]: what was added at run time is
there again after a reboot. It is written at each stop and now and then, too.
Returns when it is on the disk; exit 1 when it cannot be written."""


def register(root: typer.Typer) -> None:
    root.command("checkpoint", help=HELP, short_help="write the routes into their file now")(
        checkpoint
    )


def checkpoint(context: typer.Context) -> None:
    session = session_of(context)
    answer = session.call("rib.checkpoint", session.patience(40.0))
    routes = plural(answer.get("routes", 0), "route")
    text = f"{routes}, {answer.get('bytes')} bytes, in {answer.get('file')}"
    session.output.answer(answer, text)
