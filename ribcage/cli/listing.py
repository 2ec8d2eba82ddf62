"""`ribcage route show`: pages of the routing table as text or JSON, while they arrive.

    show_routes(session, RouteQuery("10.0.0.0/8", family=4))

        DESTINATION         [D/M]   NEXT HOP               WORKERS  AGE
    S>* 10.0.3.0/24         [1/0]   via 10.0.2.2 dev eth2      2/2  00:05:12

What people look for is not buried: rows about the router itself and its neighbours are left out
unless asked for, and a terminal gets TERMINAL_ROWS of a large table. What is left out is said.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ribcage.cli.answer.output import Output
from ribcage.cli.answer.tables import NARROWEST, hanging, wrapped
from ribcage.cli.answer.units import age, plural
from ribcage.cli.session import Session
from ribcage.shared.errors import RibcageError

PAGE = 4096  # the most the router gives at once
TERMINAL_ROWS = 200
# The letter before a route: the first of its source's name, but for these.
ORIGIN = {"runtime": "A", "zebra": "B", "receive": "L"}
OWN = ("receive", "broadcast")  # types of routes that go nowhere but to this router
LEGEND = "S static C connected A added N neighbour L own; > best * FIB q queued r rejected"


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """What `route show` was asked; limit None: TERMINAL_ROWS on a terminal, else all."""

    prefix: str | None = None
    family: int | None = None
    source: str | None = None
    limit: int | None = None
    everything: bool = False
    only: bool = False  # the prefix itself, not what is inside


class _Listing:
    """What is kept between pages: counts, and columns that only ever grow wider."""

    def __init__(self, session: Session, wanted: RouteQuery) -> None:
        self.session = session
        self.wanted = wanted
        output = session.output
        # A question about one place or source wants all there is of it, and so does a program.
        self.all_kinds = bool(
            output.json or wanted.everything or wanted.prefix is not None or wanted.source
        )
        bounded = output.terminal and not (output.json or wanted.everything)
        most = TERMINAL_ROWS if wanted.limit is None and bounded else wanted.limit
        self.left = most or (1 << 62)
        self.count = 0
        self.hidden = 0  # rows about this router
        self.more = False  # rows that the limit kept back
        self.widths = [18, 5, 12]  # 255.255.255.255/32; [D/M]; next hop

    def take(self, page: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of a page that are shown."""
        kept = list(page) if self.all_kinds else [row for row in page if not _about_us(row)]
        if self.wanted.only:
            kept = [row for row in kept if row.get("dst") == self.wanted.prefix]
        self.hidden += 0 if self.wanted.only else len(page) - len(kept)
        self.more = self.more or len(kept) > self.left
        kept = kept[: self.left]
        self.left -= len(kept)
        self.count += len(kept)
        return kept


def show_routes(session: Session, wanted: RouteQuery) -> None:
    """The whole listing; when it is interrupted, how many rows came out is said."""
    shown, output = _Listing(session, wanted), session.output
    # The first page before the first byte: an early error is then an error document alone.
    pages = _pages(session, shown)
    page: list[dict[str, Any]] | None = next(pages)
    stream = output.stream("routes")
    while page is not None:
        before = shown.count
        rows = shown.take(page)
        stream.rows(rows, _lines(output, rows, shown.widths, heading=not before))
        output.reached = f"{plural(shown.count, 'route')} shown so far"
        page = next(pages, None) if shown.left else None
    stream.finish({"count": shown.count})
    if not output.json:
        _say_what_is_missing(output, shown)


def _say_what_is_missing(output: Output, shown: _Listing) -> None:
    if shown.more and shown.wanted.limit is None:
        output.say(f"the first {plural(shown.count, 'route')}; --all or a pipe gives every one")
    if not shown.count and shown.wanted.prefix is not None:
        inside = "" if shown.wanted.only else "inside "
        output.say(f"no route {inside}{shown.wanted.prefix}")
    if shown.hidden:
        output.say(f"not shown: {plural(shown.hidden, 'own or neighbour route')} (--all)")
    if output.terminal and shown.count:
        output.say(LEGEND)


def _about_us(row: Mapping[str, Any]) -> bool:
    """Routes that exist because this router has addresses and neighbours."""
    return row.get("type") in OWN or row.get("protocol") in ("neighbour", "receive", "local")


def _pages(session: Session, shown: _Listing) -> Iterator[list[dict[str, Any]]]:
    """The router's pages, as long as the caller wants."""
    cursor: str | None = None
    seen: set[str] = set()
    wanted = shown.wanted
    while True:
        answer = session.call(
            "route.list",
            family=wanted.family,
            prefix=wanted.prefix,
            source=wanted.source,
            cursor=cursor,
            limit=min(PAGE, shown.left) if shown.all_kinds else PAGE,
        )
        cursor = None if wanted.only else answer.get("cursor")  # it comes first
        shown.more = cursor is not None
        yield [row for row in answer.get("routes", ()) if isinstance(row, dict)]
        if cursor is None:
            return
        if str(cursor) in seen:  # a table that never ends would be ours to end
            raise RibcageError("E_PROTOCOL", f"the router repeats itself at {cursor!s:.60}")
        seen.add(str(cursor))


def _lines(
    output: Output, page: Sequence[Mapping[str, Any]], widths: list[int], heading: bool
) -> Iterator[str]:
    """A page's lines. On a terminal each next hop of a group has its own, and so has a prefix
    that leaves no room beside it."""
    between = " | "
    terminal = output.width
    texts = [(str(row.get("dst")), _preference(row), _hops(row)) for row in page]
    for dst, preference, hops in texts:
        widths[0] = max(widths[0], len(dst))
        widths[1] = max(widths[1], len(preference))
        body = max(map(len, hops)) if terminal else len(between.join(hops))
        widths[2] = max(widths[2], min(60, body))
    if terminal:  # flags, gaps, workers and age take 27
        room = terminal - 27 - widths[1]
        if room - 18 < NARROWEST:
            yield from _narrow(page, terminal)
            return
        widths[2] = min(widths[2], room - 18)
        widths[0] = max(18, min(widths[0], room - widths[2]))
    if heading and page:
        head = f"    {'DESTINATION':<{widths[0]}}  {'[D/M]':<{widths[1]}}"
        yield f"{head}  {'NEXT HOP':<{widths[2]}}  WORKERS  AGE"
    bold = output.paint("\n", "bold").split("\n")  # asked once: a table has a million rows
    before, after = bold[0], bold[-1]
    now = time.monotonic()
    indent = " " * (8 + widths[0] + widths[1])
    for row, (dst, preference, hops) in zip(page, texts, strict=True):
        head = f"{flags(row)} {before}{dst:<{widths[0]}}{after}"
        if len(dst) > widths[0]:
            yield head
            head = " " * (4 + widths[0])
        head += f"  {preference:<{widths[1]}}  "
        if row.get("rejected"):
            yield from _refused(head, str(row["rejected"]), terminal, len(indent))
            continue
        parts = [between.join(hops)]
        if terminal:
            parts = [part for hop in hops for part in wrapped(hop, widths[2])]
        tail = _tail(row, now)
        if terminal and len(parts[0]) > widths[2]:  # no room beside it: workers and age below
            yield head + parts[0]
            head, parts = indent, parts[1:] or [""]
        yield f"{head}{parts[0]:<{widths[2]}}  {tail}".rstrip()
        yield from (f"{indent}{part}" for part in parts[1:])


def _narrow(page: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    """Rows on a terminal that has no room for columns: the prefix, and below it the rest."""
    now = time.monotonic()
    for row in page:
        yield f"{flags(row)} {row.get('dst')}"
        told = f"{_preference(row)}  {' '.join(_tail(row, now).split())}".strip()
        hops = [f"rejected: {row['rejected']}"] if row.get("rejected") else _hops(row)
        for text in (told, *hops):
            yield from hanging("    ", text, width)


def _refused(head: str, why: str, width: int | None, indent: int) -> Iterator[str]:
    text = f"rejected: {why}"
    parts = [text] if width is None else wrapped(text, max(20, width - indent))
    yield head + parts[0]
    yield from (" " * indent + part for part in parts[1:])


def _tail(row: Mapping[str, Any], now: float) -> str:
    workers = (row.get("workers") or {}) if row.get("selected") else {}
    used = f"{workers.get('seen', '?')}/{workers.get('of', '?')}" if workers else ""
    since = row.get("since")
    # CLOCK_MONOTONIC of this machine: the management socket is local.
    known = isinstance(since, int | float) and not isinstance(since, bool) and since > 0
    old = age(now - since) if known else ""  # type: ignore[operator]
    return f"{used:>7}  {old}" + ("  stale" if row.get("stale") else "")


def _preference(row: Mapping[str, Any]) -> str:
    if row.get("distance") is None:
        return ""
    return f"[{row['distance']}/{row.get('metric', 0)}]"


def flags(row: Mapping[str, Any]) -> str:
    """ "S>*" """
    protocol = str(row.get("protocol") or "?")
    origin = ORIGIN.get(protocol, protocol[0].upper())
    origin = "L" if row.get("type") in OWN else origin
    workers = row.get("workers") or {}
    if row.get("rejected"):
        return f"{origin} r"
    if not row.get("selected"):
        return f"{origin}  "
    queued = not (row.get("in_fib") or row.get("aggregated"))
    alive = workers.get("of", 0) - len(workers.get("absent") or ())  # the dead are not waited for
    queued = queued or workers.get("seen", 0) != alive
    if row.get("aggregated") and not queued:
        return f"{origin}>a"
    return f"{origin}>{'q' if queued else '*'}"


def _hops(row: Mapping[str, Any]) -> list[str]:
    hops = [hop for hop in row.get("nexthops") or () if isinstance(hop, dict)]
    kind = row.get("type", "forward")
    return [str(kind)] if not hops else [_hop(hop) for hop in hops]


def _hop(hop: Mapping[str, Any]) -> str:
    parts = [f"{key} {hop[key]}" for key in ("via", "dev") if hop.get(key)]
    if hop.get("weight", 1) != 1:
        parts.append(f"weight {hop['weight']}")
    return " ".join(parts)
