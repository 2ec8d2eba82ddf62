"""`ribcage drops`: which packets were dropped, and why."""

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ribcage.cli.output import table
from ribcage.cli.session import Session, session_of

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
HELP = """\b
Examples:
  ribcage drops
  ribcage drops --for 5

\b
`ribcage help drop REASON` says what a reason means and what to do about it."""


def drops(
    context: typer.Context,
    seconds: Annotated[
        float, typer.Option("--for", min=0, max=3600, help="watch so long; counts of that time")
    ] = 0.0,
) -> None:
    session = session_of(context)
    answer = session.call("drops.show")
    if seconds:
        time.sleep(seconds)  # the user asked for just this
        answer = _difference(answer, session.call("drops.show"), seconds)
    session.output.answer(answer, _lines(session, answer, bool(seconds)))


def _difference(before: Mapping[str, Any], after: dict[str, Any], seconds: float) -> dict[str, Any]:
    """after's reasons less before's, with a rate; reasons that stood still are left out."""
    old = {one.get("reason"): one for one in _reasons(before)}
    reasons = []
    for one in _reasons(after):
        was = old.get(one.get("reason"), {})
        total = one.get("total", 0) - was.get("total", 0)
        per_worker = one.get("per_worker") or []
        then = (was.get("per_worker") or []) + [0] * len(per_worker)
        if total:
            moved = [now - past for now, past in zip(per_worker, then, strict=False)]
            rate = round(total / seconds, 1)
            reasons.append({**one, "total": total, "per_worker": moved, "rate": rate})
    return {**after, "reasons": reasons, "seconds": seconds}


def _reasons(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in answer.get("reasons", ()) if isinstance(one, dict)]


def _lines(session: Session, answer: Mapping[str, Any], rated: bool) -> Iterator[str]:
    reasons = sorted(_reasons(answer), key=lambda one: -int(one.get("total", 0)))
    workers = max((len(one.get("per_worker") or ()) for one in reasons), default=0)
    header = ["REASON", *(f"WORKER{i}" for i in range(workers)), "TOTAL"]
    header += ["RATE/s"] if rated else []
    rows = []
    for one in reasons:
        per_worker = list(one.get("per_worker") or ())
        per_worker += [0] * (workers - len(per_worker))
        row = [one.get("reason"), *per_worker, one.get("total", 0)]
        rows.append([*row, *([one.get("rate")] if rated else []), _example(one.get("example"))])
    if rows:
        yield from table([*header, "EXAMPLE"], rows, right=" ".join(header[1:]))
    else:
        yield "no packet was dropped" + (" in that time" if rated else "")
    yield from _balance(session, answer.get("balance"), rated)


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
    names = ("forwarded", "delivered", "dropped", "held")
    parts = " + ".join(f"{name} {balance[name]}" for name in names if name in balance)
    word = session.output.paint("ok" if good else "NOT BALANCED", "green" if good else "red")
    since = ", since the start" if rated else ""
    yield f"balance: rx {balance.get('rx')} = {parts}   {word}{since}"
