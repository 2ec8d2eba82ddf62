"""`ribcage ps`: the processes of a router, what each may do and what ends with it."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ribcage.cli.answer.rights import rights_lines
from ribcage.cli.answer.tables import table
from ribcage.cli.dead.remains import look
from ribcage.cli.session import Session, session_of
from ribcage.controlplane.supervisor.children import processes
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.proc import rights as rights_of

HELP = """\b
Examples:
  ribcage ps
  ribcage ps --maps
  ribcage ps --rights
  ribcage ps --long

\b
--rights is what the kernel says now: user, groups, capabilities, limits,
descriptors by kind. Seccomp: a list of system calls, `none` without one.
--long adds build, seccomp, memory, open files, start, CPU seconds, STAT of
/proc (R runs, S sleeps, T is stopped) and how the last one ended.
When control does not answer, the table comes from the state file and /proc:
"running" says that it lives, "orphaned" that there is no supervisor to
restart it.
Exit 1 when one of the processes does not do its work: it waits for its next
try, hangs, or is stopped; 4 when none runs."""
HEADER = ("ROLE", "PID", "UID", "CAPS", "STATE", "RESTARTS", "IF IT DIES")
WATCHERS = ("guardian", "supervisor")
NOT_RUNNING = (
    "hung", "stopped", "waiting", "absent", "dead", "exited", "failed", "restarting",
)  # fmt: skip
LONG = ("BUILD", "SECCOMP", "RSS", "FDS", "STARTED", "CPU", "STAT", "LAST EXIT")


def register(root: typer.Typer) -> None:
    root.command("ps", help=HELP, short_help="the processes of a router and their rights")(ps)


def ps(
    context: typer.Context,
    maps: Annotated[
        bool, typer.Option("--maps", help="the shared objects each has mapped, and how")
    ] = False,
    rights: Annotated[
        bool, typer.Option("--rights", help="what each may do, as the kernel says it now")
    ] = False,
    long: Annotated[
        bool,
        typer.Option("--long", help="also start, CPU seconds, state letter, last exit"),
    ] = False,
) -> None:
    session = session_of(context)
    try:
        answer = session.call("process.list", look=maps or rights or session.output.json)
    except RibcageError as error:
        answer = _without_supervisor(session, error)
    processes = [one for one in answer.get("processes", ()) if isinstance(one, dict)]
    lines = _lines(processes, maps, long, session.output.width)
    session.output.answer(
        answer, [*lines, *(rights_lines(processes, session.output.width) if rights else ())]
    )
    if missing := answer.get("missing"):
        session.output.say(f"not running: {', '.join(missing)}; {answer.get('advice')}")
    if missing or any(one.get("state") in NOT_RUNNING for one in processes):
        raise typer.Exit(Exit.NO)


def _without_supervisor(session: Session, error: RibcageError) -> dict[str, Any]:
    """The table of the living from the state file and /proc; the error, when there is none."""
    from ribcage.controlplane.management import proc

    if session.options.socket is not None or error.exit_code == Exit.PRIVILEGE:
        raise error
    remains = look(session.names)
    state, instance = remains.state, session.names.instance
    if state is None or not remains.living:
        if state is not None and error.code == "E_NO_DAEMON":
            error.hint = f"a dead one has left objects: ribcage -i {instance} gc removes them"
        raise error
    living = {pid for pid, _ in remains.living}
    recorded = [("supervisor", 0, remains.supervisor or (0, 0))]
    if state.guardian:
        recorded.insert(0, ("guardian", 0, remains.guardian or (0, 0)))
    recorded += [(c.role, c.index, (c.pid, c.start)) for c in state.children]
    rows = [_recorded(role, index, *process, living) for role, index, process in recorded]
    missing = [str(_role(row)) for row in rows if row["state"] == "absent"]
    restarts = f"ribcage -i {instance} run adopts the living, ribcage -i {instance} stop ends them"
    advice = "the guardian starts it again" if remains.guardian else restarts
    if remains.supervisor:
        missing, advice = missing or ["an answer of control"], "the supervisor replaces it"
    watched = any(row["role"] == "supervisor" and row["state"] == "running" for row in rows)
    joined = [proc.join(row, instance) for row in rows]
    for row in joined:
        row["rights"] = rights_of(row["pid"]) if row["pid"] else None
        if row["state"] == "absent":
            row["if_it_dies"] = None
        elif row["state"] == "orphaned" and watched:
            row["state"] = "running"  # more only control could say
        elif row["state"] == "orphaned":
            row["if_it_dies"] = "nobody replaces it before there is a supervisor"
    return {"processes": joined, "missing": missing, "advice": advice}


def _recorded(role: str, index: int, pid: int, start: int, living: set[int]) -> dict[str, Any]:
    facts = processes.facts(pid) if pid in living else None
    state = "absent"
    if facts is not None:
        state = "stopped" if facts.stopped else "running" if role in WATCHERS else "orphaned"
    return {
        "role": role, "index": index, "pid": pid if facts else None, "state": state,
        "uid": _uid(pid) if facts else None, "restarts": None, "last_exit": None,
        "started_ns": processes.started_ns(start), "letter": facts.letter if facts else None,
        "rss_kb": facts.rss_kb if facts else None,
        "cpu": round(facts.cpu_seconds, 3) if facts else None,
        "fds": processes.fd_count(pid) if facts else None,
    }  # fmt: skip


def _uid(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def _lines(
    processes: list[dict[str, Any]], maps: bool, long: bool, width: int | None
) -> Iterator[str]:
    header: tuple[str, ...] = HEADER
    rows = [_row(one) for one in processes]
    if long:  # what happens when it dies, a sentence, stays last
        header = (*HEADER[:-1], *LONG, HEADER[-1])
        rows = [(*row[:-1], *_more(one), row[-1]) for row, one in zip(rows, processes, strict=True)]
    wrap = ("CAPS", "STATE", "LAST EXIT", "IF IT DIES")
    yield from table(header, rows, "PID UID RSS FDS RESTARTS CPU", width, wrap)
    builds = {str(one["build"]) for one in processes if one.get("pid") and one.get("build")}
    if len(builds) > 1:
        yield ""
        yield f"builds {', '.join(sorted(builds))} run side by side: `ribcage upgrade`, --long"
    for one in processes if maps else ():
        mapped = [m for m in one.get("maps") or () if isinstance(m, dict)]
        nothing = " nothing shared" if one.get("maps") is not None else ": may not be read"
        yield ""
        yield f"{_role(one)} maps{'' if mapped else nothing}"
        for mapping in mapped:
            yield f"  {mapping.get('perms', '?')!s:<4}  {mapping.get('object')}"


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    caps = one.get("caps")
    if isinstance(caps, list):
        caps = ",".join(str(cap) for cap in caps)
    return (
        _role(one),
        _or_dash(one.get("pid")),
        _or_dash(one.get("uid")),
        caps or "-",
        ", ".join(str(word) for word in (one.get("state"), one.get("note")) if word) or "-",
        _or_dash(one.get("restarts")),
        _or_dash(one.get("if_it_dies")),
    )


def _role(one: Mapping[str, Any]) -> object:
    return f"worker{one.get('index')}" if one.get("role") == "worker" else one.get("role")


def _more(one: Mapping[str, Any]) -> tuple[object, ...]:
    cpu, rss = one.get("cpu"), one.get("rss_kb")
    return (
        _or_dash(one.get("build")),
        _or_dash(one.get("seccomp")),
        f"{rss / 1024:.1f}M" if isinstance(rss, int | float) else "-",
        _or_dash(one.get("fds")),
        _started(one.get("started_ns")) if one.get("pid") else "-",
        f"{cpu:.1f}s" if isinstance(cpu, int | float) else "-",
        _or_dash(one.get("letter")),
        _or_dash(one.get("last_exit")),
    )


def _started(monotonic_ns: object) -> str:
    """Local time; processes tell it on the clock that no one sets."""
    if not isinstance(monotonic_ns, int) or monotonic_ns <= 0:
        return "-"
    age = (time.monotonic_ns() - monotonic_ns) / 1e9
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - age))


def _or_dash(value: object) -> object:
    return "-" if value is None or value == "" else value
