"""`ribcage drops`: which packets were dropped, and why."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ribcage.cli.answer.sampling import Sample, over
from ribcage.cli.answer.tables import hanging, table
from ribcage.cli.session import Session, session_of
from ribcage.cli.stats import not_counted

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
HELP = """\b
Examples:
  ribcage drops
  ribcage drops --for 5

\b
`ribcage help drop REASON` says what a reason means and what to do about it."""


def register(root: typer.Typer) -> None:
    root.command("drops", help=HELP, short_help="dropped packets by reason")(drops)


def drops(
    context: typer.Context,
    seconds: Annotated[
        float, typer.Option("--for", min=0, max=3600, help="counts and rates of so many seconds")
    ] = 0.0,
) -> None:
    session = session_of(context)
    if not seconds:
        answer = session.call("drops.show")
        session.output.answer(answer, _lines(session, answer, False))
        return
    sample = over(session, "drops.show", seconds)
    answer = {**_difference(sample), **sample.facts()}
    session.output.answer(answer, _lines(session, answer, True))
    sample.end()


def _difference(sample: Sample) -> dict[str, Any]:
    """after's reasons less before's, with a rate; reasons that stood still are left out."""
    old = {one.get("reason"): one for one in _reasons(sample.before)}
    reasons = []
    for one in _reasons(sample.after):
        was = old.get(one.get("reason"), {})
        total = one.get("total", 0) - was.get("total", 0)
        per_worker = one.get("per_worker") or []
        then = (was.get("per_worker") or []) + [0] * len(per_worker)
        if total:
            moved = [now - past for now, past in zip(per_worker, then, strict=False)]
            rate = round(total / sample.seconds, 1)
            reasons.append({**one, "total": total, "per_worker": moved, "rate": rate})
    return {**sample.after, "reasons": reasons}


def _reasons(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in answer.get("reasons", ()) if isinstance(one, dict)]


def _lines(session: Session, answer: Mapping[str, Any], rated: bool) -> Iterator[str]:
    reasons = sorted(_reasons(answer), key=lambda one: -int(one.get("total", 0)))
    if reasons:
        yield from _table(reasons, rated, session.output.width)
    else:
        yield "no packet was dropped" + (" in that time" if rated else "")
    for one in answer.get("set_aside") or ():
        if isinstance(one, dict):
            yield f"set aside: {one.get('length')} bytes from {one.get('port')} that ended " \
                  f"worker{one.get('worker')} twice: {one.get('bytes')}"  # fmt: skip
    yield from _balance(session, answer.get("balance"), rated)


def _table(reasons: list[dict[str, Any]], rated: bool, width: int | None) -> list[str]:
    """The counts of each worker too, where there is room for them."""
    workers = max((len(one.get("per_worker") or ()) for one in reasons), default=0)
    header = ["REASON", *(f"WORKER{i}" for i in range(workers)), "TOTAL"]
    header += ["RATE/s"] if rated else []
    rows = []
    for one in reasons:
        per_worker = list(one.get("per_worker") or ())
        per_worker += [0] * (workers - len(per_worker))
        row = [one.get("reason"), *per_worker, one.get("total", 0)]
        rows.append([*row, *([one.get("rate")] if rated else []), _example(one.get("example"))])
    right = " ".join(header[1:])
    lines = table([*header, "EXAMPLE"], rows, right)
    if width is None or max(map(len, lines)) <= width:
        return lines
    rows = [[row[0], *row[1 + workers :]] for row in rows]
    return table([header[0], *header[1 + workers :], "EXAMPLE"], rows, right, width, ["EXAMPLE"])


def _example(example: object) -> str:
    if isinstance(example, dict):
        source, target = example.get("source"), example.get("target", example.get("dst"))
        text = f"{source} > {target}"
        if isinstance(protocol := example.get("protocol"), int):
            text += f" {PROTOCOLS.get(protocol, f'protocol {protocol}')}"
        return text + (f" from {example['port']}" if example.get("port") else "")
    return str(example) if example else "(not kept)"


def _balance(session: Session, balance: object, rated: bool) -> Iterator[str]:
    if not isinstance(balance, dict):
        return
    good = balance.get("balanced", balance.get("ok"))
    names = {"forwarded": "forwarded", "delivered": "delivered", "dropped": "dropped",
             "held": "waiting"}  # fmt: skip
    parts = " + ".join(f"{word} {balance[name]}" for name, word in names.items() if name in balance)
    word = session.output.paint("ok" if good else "NOT BALANCED", "green" if good else "red")
    since = ", since the start" if rated else ""
    text = f"rx {balance.get('rx')} = {parts}   {word}{not_counted(balance)}{since}"
    yield from hanging("balance: ", text, session.output.width)
