"""`ribcage lab chaos` and `ribcage lab soak`: random faults in a lab, for minutes or hours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ribcage.cli.answer.tables import table
from ribcage.cli.session import Session, session_of
from ribcage.shared.errors import Exit, RibcageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HELP = """\b
Examples:
  ribcage lab chaos --minutes 2
  ribcage lab chaos --list"""
Seed = Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="of all that is drawn")]
Only = Annotated[str | None, typer.Option(metavar="KIND,...", help="`worker-`: a whole family")]
Out = Annotated[Path | None, typer.Option(help="a new folder for log and report")]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="lab", help=HELP, short_help="break a router in a lab of its own")


@app.command(
    short_help="random faults under traffic, judged",
    help="""\b
Examples:
  ribcage lab chaos --minutes 10 --seed 7 --out ./chaos-7
  ribcage lab chaos --only worker-,control-kill

\b
A router of its own, in namespaces, carries numbered packets while routes
change and faults strike. --list tells the kinds and what each may lose.
Exit 1 when packets, routes or objects were lost that may not be.""",
)
def chaos(
    context: typer.Context,
    minutes: Annotated[float, typer.Option(min=0.05, max=100_000)] = 1.0,
    seed: Seed = 1,
    only: Only = None,
    out: Out = None,
    listing: Annotated[bool, typer.Option("--list", help="the kinds; nothing is run")] = False,
) -> None:
    session = session_of(context)
    if listing:
        from ribcage.lab.chaos.kinds.table import ALL

        rows = [(k.name, f"{k.window_ms} ms", k.says, _expected(k)) for k in ALL.values()]
        named = [{"kind": k.name, "window_ms": k.window_ms, "says": k.says, "expect": k.expect,
                  "later": k.later or None} for k in ALL.values()]  # fmt: skip
        header = ("KIND", "MAY LOSE", "WHAT IS DONE", "WHAT SHOULD HAPPEN")
        lines = table(header, rows, "", session.output.width, header[:1:-1])
        session.output.answer({"kinds": named}, lines)
        return
    _run(session, only, minutes=minutes, seed=seed, out=out)


@app.command(
    short_help="the same for hours, milder, watching memory",
    help="""\b
Examples:
  ribcage lab soak --hours 8 --out ./soak""",
)
def soak(
    context: typer.Context,
    hours: Annotated[float, typer.Option(min=0.01, max=10_000)] = 1.0,
    seed: Seed = 1,
    only: Only = None,
    out: Out = None,
) -> None:
    _run(session_of(context), only, minutes=hours * 60, seed=seed, out=out, soak=True,
         rate=50.0, per_minute=12.0)  # fmt: skip


def _expected(kind: Any) -> str:
    return f"{kind.expect}; only when named: {kind.later}" if kind.later else str(kind.expect)


def _run(session: Session, only: str | None, **asked: Any) -> None:
    from ribcage.lab.chaos import report
    from ribcage.lab.chaos.chaos import ChaosRequest, run
    from ribcage.lab.chaos.kinds.table import DEFAULT, named
    from ribcage.lab.topology.namespaces import LabError, available

    possible, reason = available()
    if not possible:
        raise RibcageError("E_LAB", f"no lab: {reason}", None, Exit.PRIVILEGE)
    kinds = named(only) if only else list(DEFAULT.values())
    try:
        document = run(ChaosRequest(kinds=kinds, **asked), session.output.say)
    except LabError as error:
        raise RibcageError("E_LAB", str(error)[:500], None, Exit.NO) from error
    lines: Iterator[str] = report.lines(document)
    session.output.answer(document, lines)
    if not document["passed"]:
        raise typer.Exit(Exit.NO)
