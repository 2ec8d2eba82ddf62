"""`ribcage config check|compile`: a configuration file, checked without a router."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ribcage.cli.answer.output import plain
from ribcage.cli.answer.streams import standard_input, written
from ribcage.cli.session import Session, session_of, usage
from ribcage.shared.errors import Exit, RibcageError

if TYPE_CHECKING:
    from ribcage.controlplane.config.toml.problems import ConfigReport
    from ribcage.shared.plan import Plan

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HELP = """\b
Examples:
  ribcage config check ribcage.toml
  ribcage config compile --plan ribcage.toml"""
FileArgument = Annotated[Path | None, typer.Argument(help="the file, - for standard input")]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="config", help=HELP, short_help="check a configuration file")


@app.command(
    short_help="say everything that is wrong with a file",
    help="""\b
Examples:
  ribcage config check ribcage.toml
  ribcage -j config check - < ribcage.toml

\b
Exit 3 when there is an error; warnings are told and do not count.""",
)
def check(context: typer.Context, file: FileArgument = None) -> None:
    session = session_of(context)
    _plan, report = read(session, file)
    document = {"file": report.file, "errors": report.errors, "problems": report.to_json()}
    session.output.answer({**document, "warnings": report.warnings, "ok": True}, report.summary())


@app.command(
    "compile",
    short_help="print the plan a file makes",
    help="""\b
Examples:
  ribcage config compile ribcage.toml
  ribcage config compile --plan ribcage.toml

\b
The plan is what the processes run on. --plan prints it alone, as a line of
JSON.""",
)
def compile_(
    context: typer.Context,
    file: FileArgument = None,
    plan: Annotated[bool, typer.Option("--plan", help="the bare plan, for programs")] = False,
) -> None:
    session = session_of(context)
    compiled, _report = read(session, file)
    if plan:
        session.output.bare(compiled.dumps())
        return
    document = {"plan": compiled.to_json()}
    session.output.answer(document, session.output.dumps(compiled.to_json()))


def read(session: Session, file: Path | None) -> "tuple[Plan, ConfigReport]":
    """The plan of a file; its problems go to stderr. E_CONFIG (exit 3) for a bad one."""
    from ribcage.controlplane.config.load import load

    file = file or default_file(session)
    if str(file) == "-":
        standard_input()  # refuses a closed one
    plan, report = load(file)
    # -q silences warnings, never errors.
    told = plan is None or not session.options.quiet
    if report.problems and told and not session.output.json:
        written(plain(report.render()) + "\n")
    if plan is None:
        raise ConfigError(report)
    return plan, report


def default_file(session: Session) -> Path:
    """$RIBCAGE_CONFIG, else the instance's, else the system's, else the user's file."""
    if given := os.environ.get("RIBCAGE_CONFIG"):
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".config"
    named = f"{session.names.instance}.toml"
    folders = [Path("/etc/ribcage")] if os.geteuid() == 0 else [home / "ribcage"]
    for path in (folder / name for folder in folders for name in (named, "ribcage.toml")):
        if path.is_file():
            return path
    raise usage("which configuration file?", "name one, or set RIBCAGE_CONFIG")


class ConfigError(RibcageError):
    """The file was refused; `details` is what -j adds to the error."""

    def __init__(self, report: "ConfigReport") -> None:
        hint = "ribcage config check says the same without starting anything"
        super().__init__("E_CONFIG", report.summary(), hint, Exit.CONFIG)
        self.summary = report.summary()
        self.details = {
            "file": report.file,
            "errors": report.errors,
            "warnings": report.warnings,
            "problems": report.to_json(),
        }
