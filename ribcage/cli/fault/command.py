"""`ribcage fault KIND [TARGET]`: does one thing to a router that allows it, tells what follows."""

import time
from typing import Annotated, Any

import typer

from ribcage.cli.answer.tables import hanging, table
from ribcage.cli.session import session_of, usage
from ribcage.shared.errors import Exit, RibcageError

HELP = """\b
Examples:
  ribcage fault kill worker0
  ribcage fault stop control
  ribcage fault --list

\b
For routers that run with --teach (teach = true under [router]). The story
ends when the router is whole again, after --for seconds at the latest.
Exit 1 when it is not whole by then."""


def register(root: typer.Typer) -> None:
    root.command("fault", help=HELP, short_help="break something, and see what follows")(fault)


def fault(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="see --list")] = "",
    target: Annotated[str, typer.Argument(help="worker0 (the default), control, ...")] = "",
    seconds: Annotated[float, typer.Option("--for", min=0.1, max=600, help="seconds")] = 15.0,
    listing: Annotated[bool, typer.Option("--list", help="each kind and what to expect")] = False,
) -> None:
    from ribcage.lab.fault import story
    from ribcage.lab.fault.kinds import KINDS, Play
    from ribcage.lab.fault.watcher import Watcher

    session = session_of(context)
    if listing or not kind:
        rows = [(k.name, k.targets or "-", k.says, k.expect) for k in KINDS.values()]
        keys = ("kind", "targets", "says", "expect")
        document = {"kinds": [dict(zip(keys, row, strict=True)) for row in rows]}
        header = ("KIND", "TARGETS", "WHAT IS DONE", "WHAT SHOULD HAPPEN")
        session.output.answer(document, table(header, rows, "", session.output.width, header[::-1]))
        return
    if kind not in KINDS:
        raise usage(f"there is no fault {kind[:40]!r}", "see: ribcage fault --list")
    if not session.call("system.version").get("teach"):
        raise RibcageError(
            "E_TEACH",
            f'router "{session.names.instance}" does not allow faults',
            "start it with --teach, or put teach = true under [router] and start it anew",
            Exit.NO,
        )
    chosen = KINDS[kind]
    watcher = Watcher(session.names)
    chosen.play(Play(session.names, watcher, target, session.call))
    session.hang_up()
    watcher.watch(seconds)
    done: dict[str, Any] = {
        "kind": kind,
        "target": target,
        "expect": chosen.expects(target),
        "at": time.time(),
        "events": watcher.events,
        "packets": story.ledger(watcher.stats_before, watcher.stats_after),
        "healed": watcher.whole(),
    }
    width = session.output.width
    text = [line for row in story.rows(done) for line in hanging(*row, width)]
    session.output.answer(done, text)
    if not done["healed"]:
        raise typer.Exit(Exit.NO)
