"""`ribcage upgrade`: moves a running router to another build, and tells what happened.

The supervisor does it. Control is replaced on the way: what is asked meanwhile is asked again."""

import time
from typing import Annotated

import typer

from ribcage.cli.answer.moved import Unfinished, account, builds, lines, patient, watch_it
from ribcage.cli.session import session_of
from ribcage.shared.errors import Exit

HELP = """\b
Examples:
  ribcage upgrade                        # to the files that are there now
  ribcage upgrade --to /opt/ribcage-0.2  # an environment, or its python3
  ribcage upgrade --watch                # one that is under way, or the last

\b
The new build is tried first; one that cannot take over is refused, and
nothing changes. Then supervisor (same pid), workers, control and standby, one
by one.
Exit 1 when not everybody runs the new build."""
LIMIT = 300.0


def register(root: typer.Typer) -> None:
    root.command("upgrade", help=HELP, short_help="move a running router to another build")(upgrade)


def upgrade(
    context: typer.Context,
    to: Annotated[
        str | None, typer.Option("--to", help="a Python with the build, or its environment")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="replace also those who run this build already")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="only tell of the last one")] = False,
) -> None:
    session = session_of(context)
    end = time.monotonic() + session.patience(LIMIT)
    before = session.call("drops.show")
    number = None
    if not watch:
        number = session.call("system.upgrade", python=to, force=force).get("upgrade")
        session.output.reached = "the upgrade goes on: `ribcage upgrade --watch`"
    told = watch_it(session, number, end)
    after = patient(session, "drops.show", end)
    answer = account(told, before, after, patient(session, "process.list", end))
    if told.get("state") == "failed":
        session.output.say("\n".join(lines(answer, session.output.width)))
        raise Unfinished(told, answer)
    session.output.answer(answer, lines(answer, session.output.width))
    if len(builds(answer)) > 1:
        raise typer.Exit(Exit.NO)
