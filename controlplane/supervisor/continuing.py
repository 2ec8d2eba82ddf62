"""What a supervisor finds of the one before it: state, objects, the living, stored descriptors.

    objects, living, users = objects_of(settings, names, roles, store)
    take_back(context)          # rings and stats objects out of the descriptor store

Three beginnings. Nothing there: new objects. Somebody lives: their objects are taken over, and they
are waited for (children/adoption.py). Nobody lives, but the store was kept, and the router had been
ready: its objects are taken over too, so that routes outlive the death of all processes but one.
Any other leftovers are removed.
"""

import os

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.context import Context, Roles, Settings
from ribcage.controlplane.supervisor.resources.folders import give_folders
from ribcage.controlplane.supervisor.resources.objects import Objects, remove_recorded
from ribcage.controlplane.supervisor.resources.store import Store, read_text
from ribcage.controlplane.supervisor.resources.users import Users
from ribcage.controlplane.supervisor.statefile import ChildRecord, State
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names
from ribcage.shared.process.port_rings import PortRings


def objects_of(
    settings: Settings, names: Names, roles: Roles, store: Store
) -> tuple[Objects, list[ChildRecord], Users]:
    """New objects, or those of a run that goes on, with its children that live; and whose the
    processes and the folders are."""
    plan = settings.plan
    stored = store.take("state")
    state = last_state(names, stored)
    if state is not None:
        living = [c for c in state.children if processes.is_alive(c.pid, c.start)]
        if living or (stored is not None and state.ready):
            users = Users.claim(plan.process.users if state.users else None, state.users)
            give_folders(names, users, plan.management)
            attached = Objects.attach(names, state, roles.create_stats, users, store.keep)
            return attached, living, users
        removed = remove_recorded(state)
        log("info", "leftovers.removed", of_pid=state.supervisor, objects=len(removed))
    store.drop_all()  # of another run: no ring of it is ours
    users = Users.claim(plan.process.users, workers=max(1, plan.workers.count))
    try:
        give_folders(names, users, plan.management)
        made = Objects.create(
            names, roles.create_stats, plan.events.queue_bytes, users, plan.fib.sync, store.keep
        )
    except BaseException:
        users.release()
        raise
    return made, [], users


def last_state(names: Names, stored: int | None) -> State | None:
    """The newer one of the state file and its stored copy."""
    found = [State.read(names.state_file, names.instance)]
    if stored is not None:
        found.append(State.parse(read_text(stored), names.instance))
        os.close(stored)
    known = [state for state in found if state is not None]
    return max(known, key=lambda state: state.serial, default=None)


def take_back(context: Context) -> None:
    """Rings and stats objects of the last run: what a worker that died meanwhile had is there
    again. What has a name that is nobody's here is closed, and given up in the store."""
    ports: dict[int, PortRings] = {}
    for body in context.objects.state.ports:
        try:
            port = PortRings.from_json(body)
        except RibcageError as error:
            log("warning", "state.port", why=error.message)
        else:
            ports[port.index] = port
    rings = 0
    for name, fd in context.store.taken().items():
        kind, *numbers = name.split("-")
        which = [int(number) for number in numbers if number.isdigit() and len(number) < 4]
        if kind == "ring" and len(which) == 2 and which[0] in ports:
            context.ports.adopt(ports[which[0]], which[1], fd)
            rings += 1
        elif kind == "stats" and len(which) == 1:
            if not context.objects.take_stats(which[0], fd):  # it closes what it refuses
                context.store.drop(name)
        elif name == "sync":
            context.objects.take_sync(fd)
        else:
            os.close(fd)
            if name not in ("plan", "log"):
                context.store.drop(name)
    if rings:
        log("info", "store.taken", rings=rings, stats=len(context.objects.stats))
