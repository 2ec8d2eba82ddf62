"""`ribcage route show|get|add|del|load`: the routing table, read and changed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ribcage.cli import words
from ribcage.cli.output import micros, plural
from ribcage.cli.session import Session, session_of, usage
from ribcage.shared.errors import Exit, RibcageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
PAGE = 4096  # the most the router gives at once
# The letter before a route: the first of its source's name, but for these.
ORIGIN = {"runtime": "A", "zebra": "B", "receive": "L"}
WAITS = ("visible", "published", "none")

Wait = Annotated[
    str, typer.Option("--wait", help="return when: visible in all workers, published, none")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check and say, change nothing")]


@app.command(
    short_help="list routes",
    help="""\b
Examples:
  ribcage route show
  ribcage route show 10.0.0.0/8 --family 4

\b
Flags: origin (S static, C connected, K kernel, B BGP, A added by command, N neighbour,
L local), > selected, * in the FIB, a in force by a shorter entry that says the same
(fib.aggregate), q queued, r rejected; then how many workers use it.""",
)
def show(
    context: typer.Context,
    prefix: Annotated[str | None, typer.Argument(help="only routes inside this prefix")] = None,
    family: Annotated[int | None, typer.Option(help="4 or 6")] = None,
    source: Annotated[
        str | None, typer.Option(help="only routes of one source, like connected or static")
    ] = None,
    limit: Annotated[int, typer.Option(help="stop after so many (0: all)", min=0)] = 0,
) -> None:
    session = session_of(context)
    if family not in (None, 4, 6):
        raise usage(f"--family {family} is not 4 or 6")
    wanted = words.prefix(prefix) if prefix is not None else None
    left = limit or (1 << 62)
    # The first page before the first byte: an early error is then an error document alone.
    pages = _pages(session, family, wanted, source, left)
    first = next(pages)
    stream = session.output.stream("routes")
    count, widths = 0, [18, 0]  # 255.255.255.255/32; only ever wider, whatever a page holds
    for page in (p for group in ([first], pages) for p in group):
        stream.rows(page, _lines(session, page, widths))
        count += len(page)
    stream.finish({"count": count})
    if not count and wanted is not None:
        session.output.say(f"no route inside {wanted}")


def _pages(
    session: Session, family: int | None, prefix: str | None, source: str | None, left: int
) -> Iterator[list[dict[str, Any]]]:
    cursor: str | None = None
    seen: set[str] = set()
    while True:
        answer = session.call(
            "route.list",
            family=family,
            prefix=prefix,
            source=source,
            cursor=cursor,
            limit=min(PAGE, left),
        )
        rows = [row for row in answer.get("routes", ()) if isinstance(row, dict)][:left]
        yield rows
        left -= len(rows)
        cursor = answer.get("cursor")
        if cursor is None or left <= 0:
            return
        if str(cursor) in seen:  # a table that never ends would be ours to end
            raise RibcageError("E_PROTOCOL", f"the router repeats itself at {cursor!s:.60}")
        seen.add(str(cursor))


def _lines(session: Session, page: Sequence[Mapping[str, Any]], widths: list[int]) -> Iterator[str]:
    bodies = [_where_to(row) for row in page]
    widths[0] = max([widths[0], *(len(str(row.get("dst"))) for row in page)])
    widths[1] = max([widths[1], *(min(60, len(body)) for body in bodies)])
    width, body_width = widths
    bold = session.output.paint("\n", "bold").split("\n")  # asked once: a table has a million rows
    before, after = bold[0], bold[-1]
    for row, body in zip(page, bodies, strict=True):
        workers = (row.get("workers") or {}) if row.get("selected") else {}
        tail = f"{workers.get('seen', '?')}/{workers.get('of', '?')} workers" if workers else ""
        if row.get("rejected"):
            tail = f"rejected: {row['rejected']}"
        if row.get("stale"):
            tail += "  stale"
        dst = f"{row.get('dst')!s:<{width}}"
        yield f"{flags(row)} {before}{dst}{after}  {body:<{body_width}}  {tail}".rstrip()


def flags(row: Mapping[str, Any]) -> str:
    """ "S>*" """
    protocol = str(row.get("protocol") or "?")
    origin = ORIGIN.get(protocol, protocol[0].upper())
    workers = row.get("workers") or {}
    if row.get("rejected"):
        return f"{origin} r"
    if not row.get("selected"):
        return f"{origin}  "
    queued = not (row.get("in_fib") or row.get("aggregated"))
    queued = queued or workers.get("seen") != workers.get("of")
    if row.get("aggregated") and not queued:
        return f"{origin}>a"
    return f"{origin}>{'q' if queued else '*'}"


def _where_to(row: Mapping[str, Any]) -> str:
    hops = [hop for hop in row.get("nexthops") or () if isinstance(hop, dict)]
    kind = row.get("type", "forward")
    text = str(kind) if kind != "forward" and not hops else " | ".join(_hop(hop) for hop in hops)
    if row.get("metric"):
        text += f"  metric {row['metric']}"
    return text


def _hop(hop: Mapping[str, Any]) -> str:
    parts = [f"{key} {hop[key]}" for key in ("via", "dev") if hop.get(key)]
    if hop.get("weight", 1) != 1:
        parts.append(f"weight {hop['weight']}")
    return " ".join(parts)


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
    prefix, route = answer.get("prefix"), answer.get("route")
    line = " ".join(parts) + f"    match {route or prefix}"
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


@app.command(
    short_help="add a route",
    help="""\b
Examples:
  ribcage route add 203.0.113.0/24 via 10.0.2.9
  ribcage route add 198.51.100.0/24 via 10.0.2.10 weight 2 via 10.0.2.11 metric 5

\b
Words: DST [blackhole|unreachable|prohibit] [via ADDR] [dev NAME] [weight N] [metric N]
[distance N]. Every `via` begins another next hop of the group.""",
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
    text = _changed(
        done, f"{'replace' if done == 'replaced' else 'add'} {params['dst']}", answer, dry_run
    )
    if answer.get("selected") is False:
        text = f"{done}, but not in use: another route to {params['dst']} is better"
        text += f" (see: ribcage route show {params['dst']})"
    session.output.answer(answer, text)


@app.command(
    "del",
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
    if answer.get("published_us") is not None:
        generation, took = answer.get("generation"), micros(answer["published_us"])
        text += f"; published as generation {generation} in {took}"
    workers = answer.get("workers")
    if answer.get("visible_us") is not None and isinstance(workers, dict):
        seen = f"{workers.get('seen')}/{workers.get('of')}"
        text += f", used by {seen} workers after {micros(answer['visible_us'])}"
    return text


@app.command(
    short_help="load a table from a file",
    help="""\b
Examples:
  ribcage route load table.txt.xz --via 10.0.2.9
  ribcage route load table.txt --via 10.0.2.9 --via 10.0.2.10 --atomic

\b
Lines are `PREFIX/LEN NEXTHOP`; a number n as next hop means the n-th --via, counted round.
Plain, .gz or .xz. Ctrl-C gives up what has not been applied. --atomic: all or nothing.""",
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
