"""What the parts of the supervisor share: settings, tables, handles. No behaviour of its own.

`Roles` is how the composition root (ribcage/roles.py) lends the other planes' entry points: the
supervisor imports neither of them. Tests lend small fakes instead.
"""

import json
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ribcage.controlplane.supervisor.children.table import Child, ProcessTable
from ribcage.controlplane.supervisor.loop import Loop
from ribcage.controlplane.supervisor.resources.bells import Bells
from ribcage.controlplane.supervisor.resources.objects import CreateStats, Objects
from ribcage.controlplane.supervisor.resources.ports import MakeRings, OpenPort, PortSockets
from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.controlplane.supervisor.resources.users import Users
from ribcage.controlplane.supervisor.start.beginning import Beginning
from ribcage.controlplane.supervisor.start.early import Early
from ribcage.controlplane.supervisor.statefile import ChildRecord
from ribcage.shared.build import build_id
from ribcage.shared.plan import Plan
from ribcage.shared.plan_changes import keep_running_values
from ribcage.shared.process.names import Names
from ribcage.shared.process.port_rings import PortRings


@dataclass(frozen=True, slots=True)
class Roles:
    """Entry points and commands that come from outside the supervisor.

    run_worker(channel_fd) and run_control(channel_fd, standby) run in a fresh fork and need not
    return; prepare_worker() and prepare_control() have run there before, with all rights still.
    `undo` and `compile` are argument vectors of helper programs; `compile` prints a plan
    as JSON, or errors on stderr and exit 3. `is_ring(fd, port)`: whether what a worker hands
    back as the ring of a port is a packet socket of that interface; fakes have none.
    make_rings(slots, slot_bytes, count) has rings in store for open_port(); drop_rings() closes
    what is left of them.
    """

    run_worker: Callable[[int], None]
    run_control: Callable[[int, bool], None]
    open_port: OpenPort
    create_stats: CreateStats
    undo: Callable[[Path], list[str]]
    compile: Callable[[str], list[str]]
    fork: Callable[[], int] = os.fork
    is_ring: Callable[[int, PortRings], bool] = lambda fd, port: True
    prepare_worker: Callable[[], None] = lambda: None
    prepare_control: Callable[[], None] = lambda: None
    make_rings: MakeRings = lambda slots, slot_bytes, count: None
    drop_rings: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Deadlines in seconds. Generous ones guard against hangs, not against slow machines."""

    adoption: float = 3.0  # how long a successor waits for the living to say hello
    start: float = 30.0  # from having all it needs to `ready`
    stop_control: float = 5.0  # undoing nft rules and sysctls included
    stop_workers: float = 2.0
    drain: float = 6.0  # for a worker that leaves: to forward what is in its rings and held
    undo: float = 5.0
    compile: float = 30.0
    standby_delay: float = 1.0  # lets the promoted one have the CPU
    closed_channel: float = 1.0  # a child that closed its channel has this long to exit


@dataclass(slots=True)
class Settings:
    """The plan twice: without routes for the supervisor and workers, as text for control.

    The supervisor holds no routes, and a file may have 200,000 of them.
    """

    plan: Plan
    text: str

    @classmethod
    def parse(cls, text: str) -> "Settings":
        """PlanError when the text is not a plan (routes are checked by control)."""
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict):
            body.pop("routes", None)
            return cls(Plan.from_json(body), text)
        return cls(Plan.from_json(text), text)  # says what is wrong

    def with_running_values(self, running: "Settings") -> tuple["Settings", list[str]]:
        """These settings as far as a reload can change the running ones, and the names of those
        it cannot: plan_changes.py."""
        body = json.loads(self.text)
        names = keep_running_values(body, self.plan, running.plan)
        return (Settings.parse(json.dumps(body)), names) if names else (self, names)

    @property
    def digest(self) -> int:
        return zlib.crc32(self.text.encode())

    def for_worker(self) -> dict[str, Any]:
        return self.plan.to_json()

    def for_control(self) -> Any:
        return json.loads(self.text)


@dataclass(slots=True)
class Fib:
    """The segment control published, opened read-only; `fd` is handed to every worker."""

    name: str
    size: int
    fd: int
    sync: int = -1
    """Lock words of rwlock and mutex, opened for writing; -1 under the other strategies."""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "size": self.size}

    def same(self, other: "Fib") -> bool:
        """Both are the same objects, of the same size."""
        if self.size != other.size or (self.sync < 0) != (other.sync < 0):
            return False
        pairs = [(self.fd, other.fd)] + ([(self.sync, other.sync)] if self.sync >= 0 else [])
        return all(os.path.samestat(os.fstat(a), os.fstat(b)) for a, b in pairs)

    def close(self) -> None:
        for fd in self.fds().values():
            os.close(fd)

    def fds(self) -> dict[str, int]:
        return {"fib": self.fd} | ({"sync": self.sync} if self.sync >= 0 else {})


@dataclass(slots=True)
class Context:
    """Everything the parts need; `phase` is "adopting", "running" or "stopping"."""

    names: Names
    settings: Settings
    roles: Roles
    limits: Deadlines
    loop: Loop
    objects: Objects
    table: ProcessTable
    ports: PortSockets
    store: Store
    bells: Bells
    beginning: Beginning = field(default_factory=Beginning)
    users: Users = field(default_factory=lambda: Users(None, "not claimed"))
    fib: Fib | None = None
    phase: str = "running"
    plan_id: int | None = None  # of the newest plan, said by control once it is in force
    started_ns: int = field(default_factory=time.monotonic_ns)
    other_layout: bool = False
    """An upgrade goes to another layout: workers of the build before cannot read our FIB."""
    awaited: list[ChildRecord] = field(default_factory=list)
    """The living of the last run that have not said hello yet: they stay on record, or the next
    supervisor would take them for nobody, should this one die while it adopts."""
    early: Early = field(default_factory=Early)  # a control to be, until it is one
    restarts: int = 0  # of the supervisor itself, as the guardian counts them

    @property
    def plan(self) -> Plan:
        return self.settings.plan

    @property
    def workers(self) -> list[Child]:
        return self.table.workers

    @property
    def control_uid(self) -> int:
        """Whose the tables are."""
        return os.geteuid() if self.users.control is None else self.users.control

    def reads_ours(self, worker: Child) -> bool:
        """Whether a FIB of this build is one to this worker."""
        return not self.other_layout or worker.speaks.build == build_id()

    def save(self) -> None:
        """Writes the state file: call it after each fork, death and adoption."""
        state = self.objects.state
        known = self.table.records()
        pids = {record.pid for record in known}
        state.children = known + [one for one in self.awaited if one.pid not in pids]
        state.users = self.users.ids
        ports = {port.index: port.to_json() for port in self.ports.known.values()}
        if self.awaited:  # what their rings are of is known from nowhere else
            ports = {body["index"]: body for body in state.ports} | ports
        state.ports = list(ports.values())
        if state.plan_digest != self.settings.digest or "plan" not in self.store.kept:
            state.plan_digest = self.settings.digest
            self.store.text("plan", self.settings.text)
        self.objects.save()
        self.store.text("state", state.dumps())
