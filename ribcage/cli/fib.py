"""`ribcage fib show|verify`: the forwarding table as it lies in shared memory."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ribcage.cli.output import micros
from ribcage.cli.session import session_of
from ribcage.shared.errors import Exit

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
SHOWN = 50


@app.command(
    short_help="geometry, memory, generation",
    help="""\b
Examples:
  ribcage fib show
  ribcage -jp fib show""",
)
def show(context: typer.Context) -> None:
    session = session_of(context)
    answer = session.call("fib.show")
    session.output.answer(answer, _sections(answer))


def _sections(answer: Mapping[str, Any]) -> Iterator[str]:
    """Every value on a line of its own: what a section holds is the engine's to say."""
    for name, value in answer.items():
        if isinstance(value, dict):
            yield name
            width = max((len(str(key)) for key in value), default=0)
            for key, item in value.items():
                yield f"  {key!s:<{width}}  {_value(str(key), item)}"
        else:
            yield f"{name}  {_value(name, value)}"


def _value(name: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and _is_bytes(name):
        return f"{value} ({value / (1 << 20):.1f} MiB)" if value >= 1 << 20 else str(value)
    if isinstance(value, dict):
        return "  ".join(f"{key} {_value(str(key), item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_value(name, item) for item in value) or "-"
    return "-" if value is None else str(value)


def _is_bytes(name: str) -> bool:
    return name.endswith("bytes") or name in ("live", "retired", "free", "size", "segment")


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
    answer = session.call("fib.verify", timeout, samples=samples, seed=seed)
    session.output.answer(answer, _verdict(answer, samples, seed))
    if answer.get("count") != 0:
        raise typer.Exit(Exit.NO)


def _verdict(answer: Mapping[str, Any], samples: int, seed: int) -> Iterator[str]:
    count = answer.get("count")
    fib = f"FIB {_value('', answer.get('fib4'))} IPv4 and {_value('', answer.get('fib6'))} IPv6"
    took = answer.get("seconds")
    took = f" in {micros(took * 1e6)}" if isinstance(took, int | float) else ""
    yield (
        f"RIB {_value('', answer.get('rib'))}, {fib} ({samples} random lookups, seed {seed}):"
        f" {count} difference{'' if count == 1 else 's'}{took}"
    )
    differences = answer.get("differences") or []
    for one in differences[:SHOWN]:
        yield "  " + (_difference(one) if isinstance(one, dict) else str(one))
    if len(differences) > SHOWN:
        yield f"  ... and {len(differences) - SHOWN} more (see: ribcage -j fib verify)"


def _difference(one: Mapping[str, Any]) -> str:
    return "  ".join(f"{key} {_value(str(key), value)}" for key, value in one.items())
