"""`ribcage stats`: what the workers counted, how fast, and whether it adds up."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ribcage.cli.answer.sampling import Sample, over
from ribcage.cli.answer.tables import table
from ribcage.cli.answer.units import number, rate, size
from ribcage.cli.session import Session, session_of
from ribcage.shared.errors import Exit

HELP = """\b
Examples:
  ribcage stats --check
  ribcage stats --for 5

\b
Counters since the start; with --for, rates over that time (Ctrl-C: so far).
For each worker every packet is accounted for:
rx = forwarded + delivered + dropped + waiting (for a neighbour's address;
`held` with -j). --check exits 1 when that is not so, and while a worker does
no work: what comes for it is not counted before its successor is there."""
COUNTERS = ("rx", "forwarded", "delivered", "dropped", "held")
HEADER = ("RX", "FORWARDED", "DELIVERED", "DROPPED", "WAITING")
PORT_COUNTERS = ("rx", "rx_bytes", "tx", "tx_bytes", "ring_drops")
PORT_HEADER = ("IN", "IN-BYTES", "OUT", "OUT-BYTES", "RING-DROPS")


def register(root: typer.Typer) -> None:
    root.command("stats", help=HELP, short_help="packet counters and rates")(stats)


def stats(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="exit 1 unless it balances")] = False,
    seconds: Annotated[
        float, typer.Option("--for", min=0, max=3600, help="rates over so many seconds")
    ] = 0.0,
) -> None:
    session = session_of(context)
    if seconds:
        sample = over(session, "stats.show", seconds)
        answer = {**sample.after, **sample.facts(), "rates": _rates(sample)}
        session.output.answer(answer, _rate_lines(session, answer))
        sample.end()
    else:
        answer = session.call("stats.show")
        session.output.answer(answer, _lines(session, answer))
    if check and answer.get("balanced") is not True:
        raise typer.Exit(Exit.NO)


def dropped(counters: Mapping[str, Any]) -> int:
    """All drops of a snapshot, however it tells them."""
    drops = counters.get("drops", counters.get("dropped", 0))
    if isinstance(drops, dict):
        return sum(value for value in drops.values() if isinstance(value, int))
    return drops if isinstance(drops, int) else 0


def _count(counters: Mapping[str, Any], name: str) -> int:
    value = dropped(counters) if name == "dropped" else counters.get(name, 0)
    return value if isinstance(value, int) else 0


def _workers(answer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Counters by "worker0", ..., "total"."""
    found = [one for one in answer.get("workers", ()) if isinstance(one, dict)]
    named = {f"worker{one.get('worker', one.get('index', i))}": one for i, one in enumerate(found)}
    totals = answer.get("totals")
    return {**named, **({"total": totals} if isinstance(totals, dict) else {})}


def _ports(answer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    ports = answer.get("ports")
    if isinstance(ports, dict):
        return {name: one if isinstance(one, dict) else {} for name, one in ports.items()}
    found = [one for one in ports if isinstance(one, dict)] if isinstance(ports, list) else []
    return {str(one.get("name", one.get("port", "?"))): one for one in found}


def _lines(session: Session, answer: Mapping[str, Any]) -> Iterator[str]:
    header = ("WORKER", *HEADER)
    rows = [
        (name, *(number(_count(one, counter)) for counter in COUNTERS))
        for name, one in _workers(answer).items()
    ]
    yield from table(header, rows, " ".join(HEADER), session.output.width)
    if ports := _ports(answer):
        yield ""
        shown = [
            (
                name,
                _link(one),
                *(
                    (size if counter.endswith("_bytes") else number)(one.get(counter, 0))
                    for counter in PORT_COUNTERS
                ),
            )
            for name, one in ports.items()
        ]
        yield from table(
            ("PORT", "LINK", *PORT_HEADER), shown, " ".join(PORT_HEADER), session.output.width
        )
        yield ""
    yield _balance(session, answer)


def _balance(session: Session, answer: Mapping[str, Any]) -> str:
    good = answer.get("balanced") is True
    trouble = not_counted(answer)
    word = session.output.paint("ok" if good else "NOT BALANCED", "green" if good else "red")
    return f"balance: rx = forwarded + delivered + dropped + waiting   {word}{trouble}"


def not_counted(answer: Mapping[str, Any]) -> str:
    """Whose packets nobody counts just now: ": worker1 is hung"."""
    found = [one for one in answer.get("uncounted") or () if isinstance(one, dict)]
    told = ", ".join(f"worker{one.get('worker')} is {one.get('state')}" for one in found)
    return f": {told}; what waits in its rings is not counted yet" if told else ""


def _link(port: Mapping[str, Any]) -> str:
    return "up" if port.get("up") else "down"


# -- rates


def _rates(sample: Sample) -> dict[str, Any]:
    """A second's worth of each counter; `held` is no counter but a level, and stays one."""

    def per_second(now: Mapping[str, Any], then: Mapping[str, Any], name: str) -> float:
        # A worker that was replaced with its counters begins at 0.
        moved = max(0, _count(now, name) - _count(then, name))
        return round(moved / sample.seconds, 1)

    before, ports_before = _workers(sample.before), _ports(sample.before)
    return {
        "workers": {
            name: {counter: per_second(one, before.get(name, {}), counter)
                   for counter in COUNTERS if counter != "held"}
            for name, one in _workers(sample.after).items()
        },
        "ports": {
            name: {counter: per_second(one, ports_before.get(name, {}), counter)
                   for counter in PORT_COUNTERS}
            for name, one in _ports(sample.after).items()
        },
    }  # fmt: skip


def _rate_lines(session: Session, answer: Mapping[str, Any]) -> Iterator[str]:
    rates, now = answer["rates"], _workers(answer)
    yield f"per second, over {answer['seconds']:.1f} s"
    header = ("WORKER", *(f"{name}/s" for name in HEADER[:-1]), HEADER[-1])
    rows = [
        (
            name,
            *(rate(one[counter], 1.0) for counter in COUNTERS[:-1]),
            number(_count(now.get(name, {}), "held")),
        )
        for name, one in rates["workers"].items()
    ]
    yield from table(header, rows, " ".join(header[1:]), session.output.width)
    if rates["ports"]:
        yield ""
        ports = _ports(answer)
        header = ("PORT", "LINK", "IN/s", "IN-BIT/s", "OUT/s", "OUT-BIT/s", "RING-DROPS/s")
        rows = [
            (
                name,
                _link(ports.get(name, {})),
                *(
                    rate(one[counter] * (8 if counter.endswith("_bytes") else 1), 1.0)
                    for counter in PORT_COUNTERS
                ),
            )
            for name, one in rates["ports"].items()
        ]
        yield from table(header, rows, " ".join(header[2:]), session.output.width)
        yield ""
    yield _balance(session, answer)
