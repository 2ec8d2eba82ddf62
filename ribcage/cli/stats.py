"""`ribcage stats`: what the workers counted, and whether it adds up."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ribcage.cli.output import number, size, table
from ribcage.cli.session import Session, session_of
from ribcage.shared.errors import Exit

HELP = """\b
Examples:
  ribcage stats
  ribcage stats --check

\b
Every packet is accounted for: rx = forwarded + delivered + drops + held, for each worker.
--check exits 1 when that does not hold."""
COUNTERS = ("generation", "rx", "forwarded", "delivered", "dropped", "held")


def stats(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="exit 1 unless it balances")] = False,
) -> None:
    session = session_of(context)
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


def _lines(session: Session, answer: Mapping[str, Any]) -> Iterator[str]:
    workers = [one for one in answer.get("workers", ()) if isinstance(one, dict)]
    rows = [
        (f"worker{one.get('worker', one.get('index', i))}", *_row(one))
        for i, one in enumerate(workers)
    ]
    totals = answer.get("totals")
    if isinstance(totals, dict):
        rows.append(("total", "", *_row(totals)[1:]))
    header = ("WORKER", *(name.upper() for name in COUNTERS))
    yield from table(header, rows, right=" ".join(header[1:]))
    yield from _ports(answer.get("ports"))
    good = answer.get("balanced") is True
    word = session.output.paint("ok" if good else "NOT BALANCED", "green" if good else "red")
    yield f"balance: rx = forwarded + delivered + dropped + held   {word}"


def _row(counters: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(
        number(dropped(counters) if name == "dropped" else counters.get(name, 0))
        for name in COUNTERS
    )


def _ports(ports: object) -> Iterator[str]:
    if isinstance(ports, dict):
        ports = [{"name": name, **(v if isinstance(v, dict) else {})} for name, v in ports.items()]
    if not isinstance(ports, list) or not ports:
        return
    header = ("PORT", "LINK", "IN", "IN-BYTES", "OUT", "OUT-BYTES", "RING-DROPS")
    rows = [
        (
            port.get("name", port.get("port", "?")),
            "up" if port.get("up") else "down",
            number(port.get("rx", 0)),
            size(port.get("rx_bytes", 0)),
            number(port.get("tx", 0)),
            size(port.get("tx_bytes", 0)),
            number(port.get("ring_drops", 0)),
        )
        for port in ports
        if isinstance(port, dict)
    ]
    yield ""
    yield from table(header, rows, right=" ".join(header[2:]))
    yield ""
