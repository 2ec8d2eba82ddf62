"""`ribcage explain`: what would happen to a packet, stage by stage, without sending one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from ribcage.cli import words
from ribcage.cli.answer.tables import hanging
from ribcage.cli.session import Session, session_of, usage
from ribcage.shared.errors import Exit

HELP = """\b
Examples:
  ribcage explain 10.0.1.2 198.51.100.7 --in eth1
  ribcage explain 198.51.100.7 --ttl 1
  ribcage explain 10.0.1.2 10.0.3.2 --protocol udp --dport 53 --length 1600
  ribcage explain --in eth1 --frame 020000000001020000000002080045000054...

The decision is that of the code that forwards. What only the moment knows is left open: full
queues, a neighbour that does not answer, the rate limits of ICMP errors.

\b
Exit 1 when the packet would be dropped."""


def register(root: typer.Typer) -> None:
    root.command("explain", help=HELP, short_help="what would happen to a packet")(explain)


def explain(
    context: typer.Context,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[SOURCE] DST", help="one or two addresses")
    ] = None,
    port: Annotated[str | None, typer.Option("--in", help="the interface it comes in on")] = None,
    ttl: Annotated[int | None, typer.Option(min=0, max=255, help="TTL or hop limit")] = None,
    length: Annotated[
        int | None, typer.Option(min=20, max=65575, help="of the IP packet, bytes")
    ] = None,
    df: Annotated[
        bool, typer.Option("--df/--no-df", help="IPv4: set the don't-fragment bit")
    ] = True,
    protocol: Annotated[
        str | None, typer.Option(help="icmp (an echo request), tcp, udp, or a number")
    ] = None,
    sport: Annotated[
        int | None, typer.Option(min=0, max=65535, help="source port of TCP or UDP")
    ] = None,
    dport: Annotated[
        int | None, typer.Option(min=0, max=65535, help="destination port of TCP or UDP")
    ] = None,
    gso: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="a TCP or UDP super-frame: payload bytes of a segment"),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            metavar="HEX", help="instead of the words: a frame from its destination MAC on"
        ),
    ] = None,
) -> None:
    session = session_of(context)
    params = _addresses(addresses or [], frame)
    said = {"--ttl": ttl, "--length": length, "--no-df": None if df else df, "--protocol": protocol,
            "--sport": sport, "--dport": dport}  # fmt: skip
    if frame is not None and (twice := [word for word, value in said.items() if value is not None]):
        raise usage(f"{', '.join(twice)} beside --frame, which says it already", "leave one out")
    if (sport is not None or dport is not None) and protocol not in ("tcp", "udp", "6", "17"):
        raise usage("--sport and --dport are of TCP and UDP", "add --protocol tcp, or udp")
    params |= {"in": port, "ttl": ttl, "length": length, "df": df, "protocol": _protocol(protocol)}
    params |= {"source_port": sport, "target_port": dport, "gso": gso, "frame": frame}
    answer = session.call("explain", **params)
    session.output.answer(answer, _lines(session, answer))
    if answer.get("verdict") == "drop":
        raise typer.Exit(Exit.NO)


def _addresses(addresses: Sequence[str], frame: str | None) -> dict[str, Any]:
    if len(addresses) > 2 or (not addresses) != (frame is not None):
        said = "with --frame: no address" if frame is not None else "one address or two"
        raise usage(f"{len(addresses)} addresses given, {said}", "ribcage explain [SOURCE] DST")
    if not addresses:
        return {}
    params: dict[str, Any] = {"dst": words.host(addresses[-1])}
    if len(addresses) == 2:
        params["source"] = words.host(addresses[0])
        if (":" in params["source"]) != (":" in params["dst"]):
            raise usage(f"{' and '.join(addresses)} are not of one family", code="E115")
    return params


def _protocol(text: str | None) -> str | int | None:
    """A number as one; the words are the router's to check."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 4 else text


def _lines(session: Session, answer: Mapping[str, Any]) -> Iterator[str]:
    stages = [one for one in answer.get("stages", ()) if isinstance(one, dict)]
    name = max((len(str(one.get("stage"))) for one in stages), default=0)
    said = max((len(str(one.get("verdict"))) for one in stages), default=0)
    for number, one in enumerate(stages, 1):
        word = str(one.get("verdict"))
        verdict = f"{'WAIT' if word == 'HOLD' else word:<{max(12, said)}}"
        if verdict.strip().upper() == "DROP":
            verdict = session.output.paint(verdict.upper(), "red")
        head = f"{number:>2} {one.get('stage')!s:<{max(9, name)}} {verdict} "
        yield from hanging(head, str(one.get("detail")), session.output.width)
    verdict, reason = str(answer.get("verdict")), answer.get("reason")
    icmp = answer.get("icmp")
    if verdict == "hold":
        ending = f"wait; forwarded when the neighbour answers, else dropped as {reason}"
        yield from hanging(" -> ", ending, session.output.width)
        return
    ending = f"{reason or verdict}" + (f"; {_icmp(icmp)}" if icmp else "")
    yield from hanging(" -> ", ending, session.output.width)


def _icmp(icmp: object) -> str:
    if isinstance(icmp, dict):
        return "ICMP " + ", ".join(f"{key} {value}" for key, value in icmp.items())
    return f"ICMP {icmp} (unless over the limit)"
