"""`ribcage route show|get|add|del|load`: the routing table, read and changed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ribcage.cli import words
from ribcage.cli.answer.units import micros, plural
from ribcage.cli.session import session_of, usage
from ribcage.shared.errors import Exit

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HELP = """\b
Examples:
  ribcage route show
  ribcage route add 203.0.113.0/24 via 10.0.2.9"""
WAITS = ("visible", "published", "none")

Wait = Annotated[
    str, typer.Option("--wait", help="return when: visible in all workers, published, none")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check and say, change nothing")]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="route", help=HELP, short_help="the routing table")


@app.command(
    short_help="list routes",
    help="""\b
Examples:
  ribcage route show
  ribcage route show 10.0.0.0/8 --family 4

\b
S static, C connected, K kernel, B BGP, A added by command, N neighbour,
L this router's own; > best, * in the FIB, q queued, r rejected, a in force by
a shorter entry that says the same (fib.aggregate).
[D/M] distance and metric; how many workers use it; age since the last change.

\b
This router's own addresses, broadcasts and neighbours are left out unless
--all, a PREFIX or a --source asks for them. A terminal gets 200 rows unless
--limit or --all says otherwise; a pipe gets every row, and -j every route of
every kind.""",
)
def show(
    context: typer.Context,
    prefix: Annotated[
        str | None, typer.Argument(help="only routes inside this prefix; or default")
    ] = None,
    family: Annotated[int | None, typer.Option(help="4 or 6")] = None,
    source: Annotated[
        str | None, typer.Option(help="only routes of one source, like added or static")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="stop after so many (0: never)", min=0)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="own addresses and neighbours too, and no limit")
    ] = False,
) -> None:
    from ribcage.cli.listing import RouteQuery, show_routes

    session = session_of(context)
    if family not in (None, 4, 6):
        raise usage(f"--family {family} is not 4 or 6")
    within = words.prefix(prefix) if prefix is not None else None
    # All routes are inside the default route: who names it wants that one.
    only = prefix in words.DEFAULTS
    show_routes(session, RouteQuery(within, family, source, limit, everything, only))


@app.command(
    short_help="which route a packet would take",
    help="""\b
Examples:
  ribcage route get 198.51.100.7
  ribcage -j route get 2001:db8:1::9

\b
Exit 1 when there is no route.""",
)
def get(context: typer.Context, dst: Annotated[str, typer.Argument(help="an address")]) -> None:
    session = session_of(context)
    answer = session.call("route.get", dst=words.host(dst))
    session.output.answer(answer, _got(answer))


MEANING = {
    "receive": "the router's own address, left to the host stack",
    "broadcast": "a network's broadcast address, never forwarded",
    "glean": "on-link, asked for when a packet comes",
    "blackhole": "dropped without a word",
    "unreachable": "dropped, the sender is told host unreachable",
    "prohibit": "dropped, the sender is told prohibited",
}


def _got(answer: Mapping[str, Any]) -> Iterator[str]:
    kind = answer.get("type", "forward")
    parts = [str(answer.get("dst"))]
    parts += [str(kind)] if kind not in ("forward", "glean") else []
    parts += [f"via {answer['gateway']}"] if answer.get("gateway") else []
    parts += [f"dev {answer['dev']}"] if answer.get("dev") else []
    parts += [f"src {answer['source']}"] if answer.get("source") else []
    if kind in MEANING:
        parts.append(f"({MEANING[kind]})")
    yield " ".join(parts)
    prefix, route = answer.get("prefix"), answer.get("route")
    line = f"  match {route or prefix}"
    line += f" ({answer['protocol']})" if answer.get("protocol") else ""
    line += f" by entry {prefix}" if route not in (None, prefix) else ""
    ecmp = answer.get("ecmp")
    if isinstance(ecmp, dict) and ecmp.get("of", 1) != 1:
        value = answer.get("hash")
        shown = f" (hash {value:#x})" if isinstance(value, int) else ""
        line += f"  ecmp {ecmp.get('index', 0) + 1}/{ecmp['of']}{shown}"
    yield line + f"  generation {answer.get('generation')}"
    for worker in answer.get("workers") or ():
        if isinstance(worker, dict) and not worker.get("same", True):
            generation = worker.get("generation")
            yield f"  worker{worker.get('worker')} still answers from generation {generation}"


WORDS = {"ignore_unknown_options": True}  # `metric -1` is a number out of range, not an option


@app.command(
    short_help="add a route",
    context_settings=WORDS,
    help="""\b
Examples:
  ribcage route add 203.0.113.0/24 via 10.0.2.9
  ribcage route add 10.9.0.0/16 via 10.0.2.10 weight 2 via 10.0.2.11 metric 5

\b
Words: DST [blackhole|unreachable|prohibit] [via ADDR] [dev NAME] [weight N]
[metric N] [distance N]. Every `via` begins another next hop of the group.
DST is ADDRESS/LENGTH, an address, or default (of its next hop's family).
A route that is there with another next hop is replaced without a gap; one
that is there as it is stays unchanged.""",
)
def add(
    context: typer.Context,
    route: Annotated[list[str], typer.Argument(help="DST via ADDR ...", metavar="ROUTE")],
    wait: Wait = "visible",
    dry_run: DryRun = False,
) -> None:
    session = session_of(context)
    params = words.route(route)
    answer = session.call("route.add", **params, wait=_wait(wait), dry_run=dry_run or None)
    done = "replaced" if answer.get("replaced", answer.get("replaces")) else "added"
    done = "unchanged" if answer.get("unchanged") else done
    would = {"added": "add {}", "replaced": "replace {}", "unchanged": "leave {} unchanged"}[done]
    text = _changed(done, would.format(params["dst"]), answer, dry_run)
    if answer.get("selected") is False:
        text = f"{done}, but not in use: another route to {params['dst']} is better"
        text += f" (see: ribcage route show {params['dst']})"
    session.output.answer(answer, text)


@app.command(
    "del",
    context_settings=WORDS,
    short_help="remove a route",
    help="""\b
Examples:
  ribcage route del 203.0.113.0/24
  ribcage route del 198.51.100.0/24 via 10.0.2.11

\b
Exit 1 when there is no such route.""",
)
def delete(
    context: typer.Context,
    route: Annotated[list[str], typer.Argument(help="DST [via ADDR]", metavar="ROUTE")],
    wait: Wait = "visible",
    dry_run: DryRun = False,
) -> None:
    session = session_of(context)
    params = words.selector(route)
    answer = session.call("route.del", **params, wait=_wait(wait), dry_run=dry_run or None)
    session.output.answer(answer, _changed("removed", f"remove {params['dst']}", answer, dry_run))


def _changed(done: str, would: str, answer: Mapping[str, Any], dry_run: bool) -> str:
    if dry_run:
        return f"would {would}; nothing was changed"
    text = done
    if answer.get("unchanged"):
        return f"unchanged; the route is there as it is (generation {answer.get('generation')})"
    if answer.get("published_us") is not None:
        generation, took = answer.get("generation"), micros(answer["published_us"])
        text += f"; published as generation {generation} in {took}"
    workers = answer.get("workers")
    if answer.get("visible_us") is not None and isinstance(workers, dict):
        seen = f"{workers.get('seen')}/{workers.get('of')}"
        absent = [one for one in workers.get("absent") or () if isinstance(one, dict)]
        told = "".join(f", worker{one.get('worker')} is {one.get('state')}" for one in absent)
        text += f", used by {seen} workers after {micros(answer['visible_us'])}{told}"
    return text


@app.command(
    short_help="load a table from a file",
    help="""\b
Examples:
  ribcage route load table.txt.xz --via 10.0.2.9
  ribcage route load table.txt --via 10.0.2.9 --via 10.0.2.10 --atomic

\b
Lines are `PREFIX/LEN NEXTHOP`; a number n as next hop means the n-th --via,
from 1, counted round. Plain, .gz or .xz; a UTF-8 mark in front is ignored.
Ctrl-C gives up what has not been applied. --atomic: all or nothing.""",
)
def load(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="the table, or - for standard input")],
    via: Annotated[list[str] | None, typer.Option("--via", help="next hop n = the n-th")] = None,
    atomic: Annotated[bool, typer.Option("--atomic", help="every route or none")] = False,
    wait: Wait = "visible",
) -> None:
    from ribcage.cli.load import load_table

    session = session_of(context)
    vias = [words.nexthop(text) for text in via or ()]
    answer = load_table(session, file, vias, atomic, _wait(wait))
    seconds = answer.get("seconds")
    text = f"{plural(answer.get('routes'), 'route')} loaded; generation {answer.get('generation')}"
    if isinstance(seconds, int | float):
        text += f" after {micros(seconds * 1e6)}"
    session.output.answer(answer, text)
    if answer.get("rejected"):
        raise typer.Exit(Exit.NO)


def _wait(text: str) -> str:
    if text not in WAITS:
        raise usage(f"--wait {text[:30]!r} is not one of: {', '.join(WAITS)}")
    return text
