"""`ribcage fib show|verify`: the forwarding table as it lies in shared memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from ribcage.cli.answer.tables import hanging, table
from ribcage.cli.answer.units import micros, number, plural, size
from ribcage.cli.session import session_of
from ribcage.shared.errors import Exit

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
HELP = """\b
Examples:
  ribcage fib show
  ribcage fib verify"""
SHOWN = 50
PLACES = ("live", "retired", "free", "high_water", "huge_pages", "segment")
TABLES = ("FAMILY", "ENGINE", "ROUTES", "LIMIT", "USED")


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="fib", help=HELP, short_help="the forwarding table")


@app.command(
    short_help="engines, routes, memory, generation",
    help="""\b
Examples:
  ribcage fib show
  ribcage fib show --memory
  ribcage -jp fib show

\b
Memory: live is reachable by a lookup, retired waits two epochs and is bounded
whatever readers do (dead, stopped or slow: none can hold it up), free is what
updates may use.
-j adds the segment's geometry, in blocks of 64 bytes.""",
)
def show(
    context: typer.Context,
    memory: Annotated[bool, typer.Option("--memory", help="only where the memory is")] = False,
) -> None:
    session = session_of(context)
    answer = session.call("fib.show")
    if memory:
        parts = ("published", "memory", "segment", "aggregation", "rib")
        answer = {name: answer[name] for name in parts if name in answer}
    session.output.answer(answer, _memory(answer) if memory else _summary(answer))


def _summary(answer: Mapping[str, Any]) -> Iterator[str]:
    geometry, published = _section(answer, "geometry"), _section(answer, "published")
    line = f"generation {published.get('generation')}   strategy {answer.get('strategy')}"
    yield line + f"   segment {answer.get('segment')}"
    yield ""
    rows = []
    for family in (4, 6):
        have, most = published.get(f"routes{family}", 0), geometry.get(f"max_routes{family}", 0)
        share = f"{100 * have / most:.1f} %" if most else "-"
        engine = _section(answer, "engines").get(f"ipv{family}")
        rows.append((f"IPv{family}", engine, number(have), number(most), share))
    yield from table(TABLES, rows, right="ROUTES LIMIT USED")
    yield ""
    limits = [
        f"{plural(published.get(name, 0), word)} of {number(geometry.get(f'max_{name}', 0))}"
        for name, word in (("groups", "next-hop group"), ("adjacencies", "adjacency"))
    ]
    yield "next hops  " + "   ".join(limits).replace("adjacencys", "adjacencies")
    yield from _aggregation(_section(answer, "aggregation"))
    memory = _section(answer, "memory")
    yield "memory     " + _places(memory, ("live", "retired", "free", "segment"))
    if more := _places(memory, ("high_water", "huge_pages")):
        yield "           " + more
    rib = _section(answer, "rib")
    yield (
        f"RIB        {number(rib.get('rows', 0))} rows of {number(rib.get('max_rows', 0))}   "
        f"segment {size(rib.get('segment_bytes', 0))}"
    )
    yield from _publishing(_section(answer, "publisher"))
    yield from _healing(_section(answer, "healing"))


def _healing(healing: Mapping[str, Any]) -> Iterator[str]:
    """When all of it was compared last, what differed, and what was put right."""
    if not healing:
        return
    if not healing.get("period"):
        line = "audit      off"
    elif healing.get("age") is None:
        line = "audit      the first round is under way"
    else:
        line = (
            f"audit      {plural(healing.get('routes', 0), 'route')} and "
            f"{plural(healing.get('lookups', 0), 'lookup')} compared {healing['age']:.0f} s ago"
        )
    yield line
    yield f"           differences found {number(healing.get('found', 0))}"
    put_right = [
        f"{word} {number(healing[key])}"
        for key, word in (
            ("fib_rebuilt", "FIB rebuilt"),
            ("rib_rebuilt", "RIB rebuilt"),
            ("names_restored", "names restored"),
            ("semaphore", "semaphore put right"),
            ("liveness", "liveness put right"),
            ("failed", "failed"),
        )
        if healing.get(key)
    ]
    if put_right:
        yield "           " + "   ".join(put_right)
    last = healing.get("last")
    if isinstance(last, dict):
        yield f"           last: {last.get('what')} ({last.get('why')})"


def _aggregation(aggregation: Mapping[str, Any]) -> Iterator[str]:
    """Entries before and after, when fib.aggregate is on or on its way."""
    state = aggregation.get("state", "off")
    if state == "off":
        return
    head = "aggregate  "
    if state != "on":
        yield head + str(state)
        head = " " * len(head)
    for family in (4, 6):
        routes = aggregation.get(f"routes{family}", 0)
        entries = aggregation.get(f"entries{family}", 0)
        share = f" ({100 * (routes - entries) / routes:.1f} % fewer)" if routes else ""
        yield f"{head}IPv{family} {number(routes)} routes in {number(entries)} entries{share}"
        head = " " * len(head)
    yield f"{head}private {size(aggregation.get('private_bytes', 0))}"


def _publishing(publisher: Mapping[str, Any]) -> Iterator[str]:
    """How often control published since it started, and how long from request to publication."""
    counts = publisher.get("publish_ns")
    counts = counts if isinstance(counts, list) else []
    line = f"published  {plural(publisher.get('publishes', 0), 'time')} since control started"
    if sum(counts):
        line += f"   p50 {_percentile(counts, 0.5)}   p99 {_percentile(counts, 0.99)}"
    if publisher.get("refused"):
        line += f"   refused {plural(publisher['refused'], 'row')}"
    yield line


def _percentile(counts: Sequence[int], share: float) -> str:
    """The upper end of the power of two the percentile lies in; counts[i]: 2^i ns and more."""
    left = share * sum(counts)
    for power, count in enumerate(counts):
        left -= count
        if left <= 0:
            return f"<= {micros(2 ** (power + 1) / 1000)}"
    return "-"


def _memory(answer: Mapping[str, Any]) -> Iterator[str]:
    published, memory = _section(answer, "published"), _section(answer, "memory")
    routes = published.get("routes4", 0) + published.get("routes6", 0)
    each = f", {number(round(memory.get('live', 0) / routes))} B a route" if routes else ""
    most = memory.get("retired_most")
    notes = {
        "live": plural(routes, "route") + each,
        "retired": f"at most {size(most)}" if most is not None else "",
    }
    rows = [
        ("FIB", name.replace("_", " "), size(memory[name]), notes.get(name, ""))
        for name in PLACES
        if name in memory
    ]
    rib = _section(answer, "rib")
    for name, note in (("segment", plural(rib.get("rows", 0), "row")), ("private", "")):
        rows.append(("RIB", name, size(rib.get(f"{name}_bytes")), note))
    yield from table(("TABLE", "PART", "SIZE", "HOLDS"), rows, right="SIZE")


def _places(memory: Mapping[str, Any], names: Sequence[str]) -> str:
    parts = [f"{name.replace('_', ' ')} {size(memory[name])}" for name in names if name in memory]
    return "  ".join(parts)


def _section(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = answer.get(name)
    return part if isinstance(part, dict) else {}


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {_value(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or "-"
    return "-" if value is None else number(value)


@app.command(
    short_help="compare RIB, FIB and lookups",
    help="""\b
Examples:
  ribcage fib verify
  ribcage fib verify --samples 1000000 --seed 7

\b
Exit 1 when they differ.""",
)
def verify(
    context: typer.Context,
    samples: Annotated[
        int, typer.Option(min=0, max=10_000_000, help="random lookups besides every route")
    ] = 100_000,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="of the samples")] = 1,
) -> None:
    session = session_of(context)
    timeout = session.patience(120.0)
    session.output.reached = "the comparison was not over; nothing was changed"
    answer = session.call("fib.verify", timeout, samples=samples, seed=seed)
    session.output.answer(answer, _verdict(answer, samples, seed, session.output.width))
    if answer.get("count") != 0:
        raise typer.Exit(Exit.NO)


def _verdict(
    answer: Mapping[str, Any], samples: int, seed: int, width: int | None
) -> Iterator[str]:
    count = answer.get("count")
    fib = f"FIB {_value(answer.get('fib4'))} IPv4 and {_value(answer.get('fib6'))} IPv6"
    took = answer.get("seconds")
    took = f" in {micros(took * 1e6)}" if isinstance(took, int | float) else ""
    compared = f"RIB {_value(answer.get('rib'))}, {fib} ({samples} random lookups, seed {seed}): "
    result = f"{count} difference{'' if count == 1 else 's'}{took}"
    yield from hanging("", compared + result, width)
    differences = answer.get("differences") or []
    for one in differences[:SHOWN]:
        told = _difference(one) if isinstance(one, dict) else str(one)
        yield from hanging("  ", told, width)
    if len(differences) > SHOWN:
        yield f"  ... and {len(differences) - SHOWN} more (see: ribcage -j fib verify)"


def _difference(one: Mapping[str, Any]) -> str:
    return "  ".join(f"{key} {_value(value)}" for key, value in one.items())
