"""`ribcage gc`: removes what dead routers left, naming each thing; never touches a living one."""

import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ribcage.cli.dead.remains import clear, files, is_there, look, require_access, strangers
from ribcage.cli.session import session_of
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.controlplane.supervisor.statefile import State
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.names import INSTANCE, Names

HELP = """\b
Examples:
  ribcage gc --dry-run
  ribcage -i r2 gc

\b
Of all routers of this user, or with -i of that one: segments, semaphore,
queue, sockets, run directory, kernel settings that were not put back.
A router any process of which lives is left alone (ribcage stop ends it), and
so is what no state file here records.
Exit 1 when something could not be removed."""


def register(root: typer.Typer) -> None:
    root.command("gc", help=HELP, short_help="remove what dead routers left")(gc)


def gc(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what, remove nothing")] = False,
) -> None:
    session = session_of(context)
    named = session.options.instance is not None  # without: those of this user, and no other's
    names = session.names if named else Names.resolve()
    wanted = [names.instance]
    if not named:
        base = names.run_base
        folders = [path.name for path in base.iterdir() if path.is_dir()] if base.is_dir() else []
        wanted = sorted(name for name in folders if INSTANCE.fullmatch(name))
    found = (_one(Names(name, names.run_base), dry_run) for name in wanted)
    routers = [one for one in found if one is not None]
    failed = any(one["problems"] for one in routers)
    document = {"dry_run": dry_run, "routers": routers}
    session.output.answer(document, _lines(routers, dry_run))
    if failed:
        raise typer.Exit(Exit.NO)


def _one(names: Names, dry_run: bool) -> dict[str, Any] | None:
    """None: nothing of it is there."""
    row: dict[str, Any] = {"instance": names.instance, "alive": [], "removed": [], "problems": []}
    try:
        require_access(names)
    except RibcageError as error:
        return {**row, "problems": [f"{error.message}: {error.hint}"], "left": []}
    made = not is_there(names.supervisor_lock)
    cleared = False
    try:
        lock = SupervisorLock.take(names) if names.supervisor_dir.is_dir() else None
    except RibcageError:
        remains = look(names)
        return {**row, "alive": [pid for pid, _ in remains.living], "left": []}
    except OSError as error:
        return {**row, "problems": [f"{names.run_dir}: {error.strerror}"], "left": []}
    living: list[int] = []
    try:
        remains = look(names)
        ours = os.getpid()  # we hold the lock
        living = [pid for pid, _ in remains.living if pid != ours]
        if living or remains.held:
            return {**row, "alive": living, "left": []}
        there = lock is not None and (remains.state is not None or any(files(names)))
        if there:
            row["removed"], row["problems"] = clear(names, remains.state, dry_run)
            cleared = not dry_run
    finally:
        if lock is not None:
            lock.release(remove=made or cleared)
            if cleared:
                names.remove_run_dir()
    if lock is None and names.run_dir.is_dir():  # half made by a start that was killed
        there = True
        if not dry_run:
            names.remove_run_dir()
        if dry_run or not names.run_dir.exists():
            row["removed"].append(str(names.run_dir))
    known = _recorded(remains.state) if remains.state is not None else set()
    left = strangers(names)
    left = [path for path in left if not dry_run or f"/{path.rpartition('/')[2]}" not in known]
    return {**row, "left": left} if there or left else None


def _recorded(state: State) -> set[str]:
    """Every name in /dev/shm that the state file has: a semaphore is a file there, too."""
    return {*state.shm, f"/sem.{state.semaphore[1:]}"} if state.semaphore else set(state.shm)


def _lines(routers: list[dict[str, Any]], dry_run: bool) -> Iterator[str]:
    for one in routers:
        name = one["instance"]
        if one["alive"]:
            pids = " ".join(map(str, one["alive"]))
            yield f"{name}: runs (pid {pids}), left alone"
            continue
        for what in one["removed"]:
            yield f"{name}: {'would remove' if dry_run else 'removed'} {what}"
        for what in one["problems"]:
            yield f"{name}: FAILED {what}"
        for what in one["left"]:
            yield f"{name}: not recorded here, left alone: {what}"
    if not any(one["removed"] or one["problems"] or one["left"] for one in routers):
        yield "nothing is left of any dead router"
