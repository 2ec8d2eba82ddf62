"""`ribcage reload`: gives a running router a new configuration, checked here first."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ribcage.cli.session import session_of
from ribcage.shared.errors import Exit, RibcageError

HELP = """\b
Examples:
  ribcage reload
  ribcage -i r2 reload -c r2.toml

\b
Without -c: $RIBCAGE_CONFIG, else the file the router was started from.
Returns when the new configuration is in force, and says what it changed.
Exit 3 when the file has an error, is empty or names another router, 1 when it
could not be put in force: the running configuration stays as it is."""
SHOWN = 12  # names of one line
MAX_REQUEST = 60_000  # the router reads lines of 64 KiB


def register(root: typer.Typer) -> None:
    root.command("reload", help=HELP, short_help="give a router a new configuration")(reload)


def reload(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="the configuration file")
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="take a file without interface and route")
    ] = False,
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
    answer = session.call(
        "system.reload", session.patience(30.0), plan=plan.to_json(), allow_empty=allow_empty
    )
    head = f'router "{session.names.instance}" takes the new configuration: {report.summary()}'
    session.output.answer(answer, "\n".join([head, *_told(answer)]))


def _told(answer: dict[str, Any]) -> list[str]:
    """What changed, what did not, and what could not be had; a line each."""
    changes = answer.get("changes") or {}
    lines = []
    for what in ("interfaces", "routes"):
        for word, names in (changes.get(what) or {}).items():
            if names:
                lines.append(f"{what} {word}: {_some(names)}")
    kept = answer.get("needs_restart") or []
    if live := [name for name in changes.get("settings") or () if name not in kept]:
        lines.append(f"settings changed: {_some(live)}")
    if not lines and not kept and changes:
        lines.append("nothing changed")
    if kept:
        lines.append(f"unchanged until the router is started again: {_some(kept)}")
    for what in ("problems", "rejected"):
        lines += [f"could not be had: {one}" for one in answer.get(what) or ()]
    return lines


def _some(names: list[Any]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(map(str, names[:SHOWN])) + (f" and {rest} more" if rest > 0 else "")
