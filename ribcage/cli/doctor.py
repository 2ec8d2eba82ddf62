"""`ribcage doctor`: can this machine run a router? Each line was found by trying.

    ok    user namespaces    user and network namespaces
    warn  SysV queues        kernel.msgmnb 8192: a queue holds 128 events
          -> sysctl -w kernel.msgmnb=65536
    FAIL  nftables           no `nft` program

FAIL means a router cannot run (exit 5); warn, that something is less than it could be.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ribcage.cli.answer.tables import hanging
from ribcage.cli.session import Session, session_of
from ribcage.shared.errors import Exit
from ribcage.shared.plan import Plan, ProcessPlan

if TYPE_CHECKING:
    from ribcage.cli.machine.checks import Finding

HELP = """\b
Examples:
  ribcage doctor
  ribcage doctor -c ribcage.toml

\b
Exit 5 when something a router needs is missing."""
COLOURS = {"ok": "green", "warn": "yellow", "skip": "dim", "FAIL": "red"}


def register(root: typer.Typer) -> None:
    root.command("doctor", help=HELP, short_help="check what this machine can do")(doctor)


def doctor(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="check the sizes of this file")
    ] = None,
) -> None:
    session = session_of(context)
    findings = [check() for check in _checks(session, config)]
    failed = [finding.name for finding in findings if finding.verdict == "FAIL"]
    document = {
        "ok": not failed,
        "checks": [
            {"name": f.name, "verdict": f.verdict.lower(), "detail": f.detail, "advice": f.advice}
            for f in findings
        ],
    }
    session.output.answer(document, _lines(session, findings, failed))
    if failed:
        raise typer.Exit(Exit.PRIVILEGE)


def _checks(session: Session, config: Path | None) -> "Sequence[Callable[[], Finding]]":
    from ribcage.cli.machine import checks, rights

    plan = _plan(session, config)
    process = ProcessPlan() if plan is None else plan.process
    return (
        checks.kernel,
        checks.user_namespaces,
        checks.capabilities,
        rights.own_users(process),
        rights.system_calls(process),
        rights.run_directory(process),
        checks.packet_ring,
        checks.veth,
        checks.nftables,
        checks.message_queue,
        checks.semaphores,
        checks.shared_memory(checks.table_bytes(None if plan is None else plan.fib)),
        checks.logind,
        checks.compiled_module,
    )


def _plan(session: Session, config: Path | None) -> Plan | None:
    """What the file says; without one the defaults are looked at."""
    if config is None:
        return None
    from ribcage.cli.config import read

    return read(session, config)[0]


def _lines(session: Session, findings: "Sequence[Finding]", failed: list[str]) -> Iterator[str]:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        verdict = session.output.paint(f"{finding.verdict:<4}", COLOURS[finding.verdict])
        head = f"{verdict}  {finding.name:<{width}}  "
        yield from hanging(head, finding.detail, session.output.width)
        if finding.advice:
            yield from hanging("      -> ", finding.advice, session.output.width)
    yield f"FAIL  {', '.join(failed)}" if failed else "nothing a router needs is missing"
