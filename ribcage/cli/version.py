"""`ribcage version`: what is installed here, for reports and for comparing two builds."""

import platform
from typing import Annotated, Any

import typer

from ribcage import __version__
from ribcage.cli.answer.output import SCHEMA
from ribcage.cli.session import session_of
from ribcage.shared.build import build_id
from ribcage.shared.plan import SCHEMA as PLAN_SCHEMA

HELP = """\b
Examples:
  ribcage version
  ribcage version -j --layouts"""


def register(root: typer.Typer) -> None:
    root.command("version", help=HELP, short_help="versions of what is installed")(version)


def version(
    context: typer.Context,
    layouts: Annotated[
        bool, typer.Option("--layouts", help="and the layout ids of shared memory")
    ] = False,
) -> None:
    session = session_of(context)
    document: dict[str, Any] = {
        "version": __version__,
        "build": build_id(),
        "json_schema": SCHEMA,
        "plan_schema": PLAN_SCHEMA,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    python = f"(Python {platform.python_version()}, {platform.machine()})"
    lines = [f"ribcage {__version__}, build {build_id()} {python}"]
    if layouts:  # imports the compiled module, which the plain question does without
        from ribcage.shared.memory.identity import layouts as layout_ids

        document["layouts"] = found = layout_ids()
        shown = "  ".join(f"{name} {layout}" for name, layout in found.items())
        lines.append(f"shared memory layouts: {shown}")
    session.output.answer(document, lines)
