"""`ribcage undo`: puts back what a router that ended otherwise has changed in the kernel."""

import typer

from ribcage.cli.dead.inside import Place
from ribcage.cli.dead.remains import is_there, look, require_access
from ribcage.cli.session import session_of
from ribcage.controlplane.kernel.changes.undo import undo as undo_journal
from ribcage.shared.errors import Exit, RibcageError

HELP = """\b
Examples:
  ribcage undo
  ribcage -i r2 undo

\b
Packet filter, rc-host, addresses, forwarding switches: all that the journal
control/undo.json in the run directory holds. `ribcage stop` does the same.
Exit 1 when something could not be put back (it stays in the journal),
8 while the router runs."""


def register(root: typer.Typer) -> None:
    root.command("undo", help=HELP, short_help="put kernel settings back")(undo)


def undo(context: typer.Context) -> None:
    session = session_of(context)
    names = session.names
    require_access(names)
    remains = look(names)
    if remains.supervisor or any(child.role == "control" for child in remains.children):
        raise RibcageError(
            "E_RUNNING",
            f'router "{names.instance}" runs: it would change them again',
            f"ribcage -i {names.instance} stop ends it, and puts them back",
            Exit.RUNNING,
        )
    there = is_there(names.undo_file)
    place = Place.of(remains.children[0].pid) if remains.children else Place()
    try:
        problems = place.run(lambda: undo_journal(names.undo_file)) if there else []
    finally:
        place.close()
    document = {"instance": names.instance, "undone": there and not problems, "problems": problems}
    lines = [f"not put back: {problem}" for problem in problems]
    text = "kernel settings are as before the router" if there else "there is nothing to undo"
    session.output.answer(document, lines or text)
    if problems:
        raise typer.Exit(Exit.NO)
