"""`ribcage reload`: gives a running router a new configuration, checked here first."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ribcage.cli.session import session_of
from ribcage.shared.errors import Exit, RibcageError

HELP = """\b
Examples:
  ribcage reload
  ribcage -i r2 reload -c r2.toml

\b
Without -c: $RIBCAGE_CONFIG, else the file the router was started from.
Exit 3 when the file has an error: the running configuration stays as it is."""
MAX_REQUEST = 60_000  # the router reads lines of 64 KiB


def register(root: typer.Typer) -> None:
    root.command("reload", help=HELP, short_help="give a router a new configuration")(reload)


def reload(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="the configuration file")
    ] = None,
) -> None:
    from ribcage.cli.config import read

    session = session_of(context)
    if config is None and not os.environ.get("RIBCAGE_CONFIG"):
        running = session.call("system.version").get("config")  # what it was started from
        config = Path(running) if isinstance(running, str) else None
    plan, report = read(session, config)
    if len(plan.dumps()) > MAX_REQUEST:
        raise RibcageError(
            "E_TOO_LARGE",
            f"a plan of {len(plan.dumps())} bytes does not fit a request of {MAX_REQUEST}",
            "systemctl reload, or kill -HUP the supervisor: it reads the file itself",
            Exit.USAGE,
        )
    answer = session.call("system.reload", session.patience(30.0), plan=plan.to_json())
    text = f'router "{session.names.instance}" takes the new configuration: {report.summary()}'
    kept = answer.get("needs_restart")
    if kept:
        text += f"\nunchanged until the router is started again: {', '.join(map(str, kept))}"
    session.output.answer(answer, text)
