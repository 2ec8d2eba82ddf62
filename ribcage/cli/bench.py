"""`ribcage bench fib`: how fast the FIB is on this machine, beside others, in one run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ribcage.cli.session import Session, session_of, usage
from ribcage.shared.errors import Exit

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HELP = """\b
Examples:
  ribcage bench fib --quick
  ribcage -j bench fib --family 6 --against dpdk"""


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="bench", help=HELP, short_help="measure the forwarding table")


@app.command(
    short_help="lookups, updates, latency, memory",
    help="""\b
Examples:
  ribcage bench fib --family 4 --quick
  ribcage -j bench fib --family 4 --table rib4.txt.xz --against dpdk

\b
Engines and strategies are compared by naming several (--engine compact
--engine flat). Ratios in `summary` are of the first one named, against the
first peer. Exit 1 when the next hops of two contestants differ: then nothing
that was measured counts. See docs/benchmarks.md.""",
)
def fib(
    context: typer.Context,
    family: Annotated[int, typer.Option(help="4 or 6")] = 4,
    table: Annotated[
        Path | None, typer.Option(help="lines `PREFIX/LEN ID`, plain, .xz or .gz")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="repeatable; default: the build's")
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="repeatable; default: the build's")
    ] = None,
    updates: Annotated[
        Path | None, typer.Option(help="lines `A|W PREFIX/LEN ID`; default: the table's own")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="dpdk, pytricia, py-radix or none; repeatable")
    ] = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="no AVX-512, in ours nor in the peer")
    ] = False,
    teach: Annotated[
        bool, typer.Option("--teach", help="allow strategies that give wrong answers")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="a minute at most, coarser")] = False,
    reps: Annotated[int | None, typer.Option(min=1, max=1000, help="repetitions of each")] = None,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="of all that is drawn")] = 1,
    csv: Annotated[bool, typer.Option("--csv", help="every repetition as a row")] = False,
) -> None:
    session = session_of(context)
    if family not in (4, 6):
        raise usage(f"--family {family} is not 4 or 6")
    if csv and session.output.json:
        raise usage("--csv and --json are two forms of one answer", "leave one of them out")
    from ribcage.lab.bench.fib import report
    from ribcage.lab.bench.fib.run import BenchRequest, run

    request = BenchRequest(
        family=family,
        table=table,
        updates=updates,
        engines=engine or [],
        strategies=strategy or [],
        against=against or [],
        portable=portable,
        teach=teach,
        quick=quick,
        repetitions=reps,
        seed=seed,
        command=sys.argv,
    )
    with _progress(session) as progress:
        document = run(request, progress)
    lines = [report.to_csv(document)] if csv else report.to_text(document)
    session.output.answer(document, lines)
    if document["void"] is not None:
        session.output.say(f"void: {document['void']}")
        raise typer.Exit(Exit.NO)


@contextmanager
def _progress(session: Session) -> Iterator[Callable[[str], None]]:
    """What is being done, on stderr: a changing line on a terminal, else a line a kind."""
    output = session.output

    def reach(step: str) -> None:
        output.reached = f"at {step}; nothing is reported of a part"

    if session.options.quiet:
        yield reach
        return
    if not sys.stderr.isatty():
        said: set[str] = set()

        def say(step: str) -> None:
            reach(step)
            kind = step.rstrip("0123456789/ ")
            if kind not in said:
                said.add(kind)
                session.output.say(f"bench: {kind}")

        yield say
        return
    from rich.console import Console

    console = Console(stderr=True, no_color=session.options.color == "never")
    with console.status("bench") as status:

        def update(step: str) -> None:
            reach(step)
            status.update(f"bench: {step}")

        yield update
