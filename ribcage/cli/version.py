"""`ribcage version`: what is installed here, for reports and for comparing two builds."""

import platform

import typer

from ribcage import __version__
from ribcage.cli.output import SCHEMA
from ribcage.cli.session import session_of
from ribcage.shared.plan import SCHEMA as PLAN_SCHEMA

HELP = """\b
Examples:
  ribcage version
  ribcage version -j"""


def version(context: typer.Context) -> None:
    session = session_of(context)
    document = {
        "version": __version__,
        "json_schema": SCHEMA,
        "plan_schema": PLAN_SCHEMA,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    text = f"ribcage {__version__} (Python {platform.python_version()}, {platform.machine()})"
    session.output.answer(document, text)
