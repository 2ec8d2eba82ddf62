"""`ribcage version`: what is installed here, for reports and for comparing two builds."""

import platform
from typing import Annotated, Any

import typer

from ribcage import __version__
from ribcage.cli.answer.output import SCHEMA
from ribcage.cli.session import session_of
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
        "json_schema": SCHEMA,
        "plan_schema": PLAN_SCHEMA,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    text = f"ribcage {__version__} (Python {platform.python_version()}, {platform.machine()})"
    lines = [text]
    if layouts:  # imports the compiled module, which the plain question does without
        document["layouts"] = found = _layouts()
        shown = "  ".join(f"{name} {layout}" for name, layout in found.items())
        lines.append(f"shared memory layouts: {shown}")
    session.output.answer(document, lines)


def _layouts() -> dict[str, str]:
    """The layout id of each segment this build makes; another build's are refused."""
    from ribcage.shared._core import ffi, lib

    expect = ffi.new("struct segment_expect *")
    found = {}
    kinds = {
        "fib": lib.SEGMENT_FIB,
        "rib": lib.SEGMENT_RIB,
        "stats": lib.SEGMENT_STATS,
        "sync": lib.SEGMENT_SYNC,
    }
    for name, kind in kinds.items():
        if lib.segment_expected(lib.segment_format(kind), expect) == 0:
            found[name] = f"{expect.layout_id:#018x}"
    return found
