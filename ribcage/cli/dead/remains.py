"""What is there of a router without asking it: from its state file, its lock and /proc.

    remains = look(names)
    remains.supervisor, remains.guardian      # pid and start time of those that live, or None
    remains.children                          # recorded ones that live
    clear(names, remains.state, dry_run)      # what a dead one left: names of what was removed

A process is known by pid and start time together. Nothing is removed but what the state file
records and this run made: a segment of another instance id belongs to another, whatever its name.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ribcage.controlplane.kernel.changes.undo import undo
from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.resources.objects import SHM, remove_recorded
from ribcage.controlplane.supervisor.start.lock import is_held, lock_owner
from ribcage.controlplane.supervisor.statefile import ChildRecord, State
from ribcage.shared._core import ffi
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.names import Names

Process = tuple[int, int]  # pid, start time


@dataclass(slots=True)
class Remains:
    """See the module's text."""

    names: Names
    state: State | None = None
    supervisor: Process | None = None
    guardian: Process | None = None
    children: list[ChildRecord] = field(default_factory=list)
    held: bool = False
    """Somebody holds control's lock: it lives, even where its pid cannot be seen."""

    @property
    def living(self) -> list[Process]:
        """Guardian first: what is ended before it would be started again."""
        watchers = [one for one in (self.guardian, self.supervisor) if one is not None]
        return [*watchers, *((child.pid, child.start) for child in self.children)]


def look(names: Names) -> Remains:
    """Never raises: what cannot be read is not known."""
    state = State.read(names.state_file, names.instance)
    remains = Remains(names, state)
    remains.held = is_held(names.control_lock)
    owner = lock_owner(names.supervisor_lock)
    if owner is not None:
        remains.supervisor = (owner, processes.start_time(owner))
    if state is not None:
        remains.children = [c for c in state.children if processes.is_alive(c.pid, c.start)]
        if len(state.guardian) == 2 and processes.is_alive(*state.guardian):
            remains.guardian = (state.guardian[0], state.guardian[1])
    return remains


def clear(names: Names, state: State | None, dry_run: bool = False) -> tuple[list[str], list[str]]:
    """Undoes, then removes; (what went, what could not). The caller has looked that nobody lives,
    and holds the lock. The state file goes last: killed in the middle, the next one goes on."""
    done: list[str] = []
    problems: list[str] = []
    if is_there(names.undo_file):
        problems = [] if dry_run else undo(names.undo_file)
        if not problems:
            done.append("kernel settings")
    if state is not None:
        ours = State(
            state.instance, state.instance_id, state.supervisor, queue_key=state.queue_key,
            semaphore=state.semaphore, sync_key=state.sync_key,
            shm=[name for name in state.shm if _is_ours(name, state.instance_id)],
        )  # fmt: skip
        if len(ours.shm) < sum((SHM / name[1:]).exists() for name in state.shm):
            ours.semaphore = ""  # that name is another router's now, and the semaphore with it
        done += _there(ours) if dry_run else remove_recorded(ours)
    # Who could not undo may be in another place than the router was, where all is still there.
    keep = {names.undo_file, names.state_file} if problems else set()
    for path in files(names):
        if path in keep:
            continue
        try:
            if not dry_run:
                path.unlink()
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        else:
            done.append(str(path))
    if not dry_run:
        with contextlib.suppress(OSError):
            names.supervisor_lock.unlink()
        names.remove_run_dir()  # what is not ours in it stays, and so does the folder
        if not names.run_dir.exists():
            done.append(str(names.run_dir))
    return done, problems


def files(names: Names) -> Iterator[Path]:
    """Those of ours that are in the run directory, the state file last."""
    dump = names.supervisor_dump
    known = [names.supervisor_socket, names.control_socket, names.control_lock, names.control_dump,
             names.restored,
             dump, names.log_file, names.log_file.with_name(names.log_file.name + ".1"),
             names.undo_file]  # fmt: skip
    known += [path.with_suffix(".tmp") for path in (dump, names.control_dump, names.undo_file)]
    with contextlib.suppress(OSError):
        known += sorted(names.supervisor_dir.glob(names.guardian_socket("*").name))
    known += [names.state_file.with_suffix(".tmp"), names.state_file]
    yield from (path for path in known if is_there(path))


def is_there(path: Path) -> bool:
    """Also a link to nothing. False in a folder that is closed to us: another user's router."""
    try:
        return path.is_symlink() or path.exists()
    except OSError:
        return False


def require_access(names: Names) -> None:
    """E_PERMISSION where a run directory is another user's: nothing in it can be looked at."""
    for folder in (names.supervisor_dir, names.control_dir):
        if is_there(folder) and not os.access(folder, os.R_OK | os.X_OK):
            raise RibcageError(
                "E_PERMISSION", f"{folder} is closed to uid {os.geteuid()}",
                "as root, or as the router's user", Exit.PRIVILEGE,
            )  # fmt: skip


def strangers(names: Names) -> list[str]:
    """Objects of this instance's name that no state file here records: left alone."""
    with contextlib.suppress(OSError):
        prefix = (f"ribcage.{names.instance}.", f"sem.ribcage.{names.instance}.")
        return sorted(str(path) for path in SHM.iterdir() if path.name.startswith(prefix))
    return []


def _is_ours(name: str, instance_id: int) -> bool:
    """A segment says which run made it; one that is half made says nothing, and its name was
    recorded before it existed."""
    try:
        fd = os.open(SHM / name[1:], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # the removal says what is wrong
    try:
        raw = os.pread(fd, ffi.sizeof("struct segment_identity"), 0)
    finally:
        os.close(fd)
    if len(raw) < ffi.sizeof("struct segment_identity"):
        return True
    line = ffi.from_buffer("struct segment_identity *", raw)
    return int(line.magic) == 0 or int(line.instance_id) == instance_id


def _there(state: State) -> list[str]:
    """What remove_recorded() would remove."""
    found = [name for name in state.shm if (SHM / name[1:]).exists()]
    if state.semaphore and (SHM / f"sem.{state.semaphore[1:]}").exists():
        found.append(state.semaphore)
    queues = Path("/proc/sysvipc/msg").read_text().splitlines()[1:]
    if state.queue_key and any(int(row.split()[0]) == state.queue_key for row in queues):
        found.append(f"queue {state.queue_key:#x}")
    return found
