"""The shape of a configuration file: tables, keys, types, ranges and defaults.

One class a table. Every key of the manual that this build acts on is here; a setting with one
value left (`offload`, ...) is here so that a file may say it. What only this machine or
other parts of the file can refuse is in limits.py, links.py, routes.py. Unknown keys are errors.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ribcage.controlplane.config.types import (
    account_name,
    between,
    count_or_auto,
    dotted_id,
    duration,
    file_mode,
    group_name,
    instance_name,
    interface_address,
    interface_name,
    listed,
    nexthop_address,
    one_of,
    prefix,
    renamed,
    user_range,
)
from ribcage.shared.memory.fib_engines import default_engine, engines
from ribcage.shared.memory.fib_sync import DEFAULT_STRATEGY, STRATEGIES
from ribcage.shared.plan import (
    ControlPlan,
    EventsPlan,
    FibPlan,
    HoldPlan,
    IcmpPlan,
    LogPlan,
    ManagementPlan,
    NeighboursPlan,
    ProcessPlan,
    RibPlan,
    RingsPlan,
    WorkersPlan,
)

MAX_INTERFACES = 31  # FIB_MAX_PORTS of csrc/layout/fib_layout.h, less the host port
MAX_ROUTES = 10_000  # more come from a file with `ribcage route load`
MAX_NEXTHOPS = 32  # of one group
MAX_WORKERS = 64
MAX_METRIC = 4_294_967_295
EVENT_SIZE = 64  # csrc/layout/event_layout.h

_workers, _fib, _icmp, _hold = WorkersPlan(), FibPlan(), IcmpPlan(), HoldPlan()
_rings, _management, _process = RingsPlan(), ManagementPlan(), ProcessPlan()


class Section(BaseModel):
    """Strict: a string is not a number. Closed: a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RouterSection(Section):
    name: Annotated[str, instance_name()] = "r1"
    router_id: Annotated[str, dotted_id()] | None = None
    orphan_timeout: Annotated[float, duration(0, 3600, "30s")] = 30.0
    teach: bool = False


class ManagementSection(Section):
    mode: Annotated[int, file_mode()] = _management.mode
    group: Annotated[str, group_name()] | None = None
    max_clients: Annotated[int, between(1, 1024)] = _management.max_clients
    max_line: Annotated[int, between(4096, 1 << 20)] = _management.max_line
    request_timeout: Annotated[float, duration(0.1, 600, "5s")] = _management.request_timeout
    idle_timeout: Annotated[float, duration(1, 86400, "10m")] = _management.idle_timeout
    operators: list[Annotated[str, account_name()]] = []
    admins: list[Annotated[str, account_name()]] = []
    max_per_user: Annotated[int, between(1, 1024)] = _management.max_per_user
    max_rate: Annotated[int, between(1, 1_000_000)] = _management.max_rate
    max_cpu: Annotated[int, between(1, 100)] = _management.max_cpu


class RestartSection(Section):
    policy: Annotated[str, one_of("on-failure", later=("always", "never"))] = "on-failure"
    max: Annotated[int, between(0, 1000)] = _workers.restart_max
    window: Annotated[float, duration(1, 3600, "60s")] = _workers.restart_window


OLD_PROCESS_KEYS = ("users", "seccomp")  # of [workers]: accepted, with W205
SECCOMP = one_of("enforce", "log", "off")


class ProcessSection(Section):
    users: Annotated[tuple[int, int] | None, user_range()] = _process.users
    seccomp: Annotated[str, SECCOMP] = _process.seccomp
    core_dumps: bool = _process.core_dumps


class WorkersSection(Section):
    count: Annotated[int, count_or_auto(MAX_WORKERS)] = _workers.count
    cpus: Annotated[list[Annotated[int, between(0, 4095)]], Field(min_length=1)] | None = None
    batch: Annotated[int, between(1, 256)] = _workers.batch
    restart: RestartSection = RestartSection()
    hang_timeout: Annotated[float, duration(0.1, 3600, "500ms")] = _workers.hang_timeout
    # Of an older version: [process] has them now.
    users: Annotated[tuple[int, int] | None, user_range()] = None
    seccomp: Annotated[str, SECCOMP] | None = None


class ControlSection(Section):
    hang_timeout: Annotated[float, duration(0, 600, "3s")] = ControlPlan().hang_timeout


_rib = RibPlan()


class RibSection(Section):
    checkpoint: bool = _rib.checkpoint
    checkpoint_interval: Annotated[float, duration(1, 86400, "5m")] = _rib.checkpoint_interval
    stale_time: Annotated[float, duration(1, 86400, "120s")] = _rib.stale_time


class PublishSection(Section):
    max_delay: Annotated[float, duration(0, 1, "1ms")] = _fib.max_delay
    max_batch: Annotated[int, between(1, 65536)] = _fib.max_batch


OLD_STRATEGIES = {"undo": "sem_undo"}  # accepted, with W205


class FibSection(Section):
    lookup4: Annotated[str, one_of(*engines(4))] = default_engine(4)
    lookup6: Annotated[str, one_of(*engines(6))] = default_engine(6)
    sync: Annotated[str, one_of(*STRATEGIES), renamed(OLD_STRATEGIES)] = DEFAULT_STRATEGY
    max_routes4: Annotated[int, between(16, 16_000_000)] = _fib.max_routes4
    max_routes6: Annotated[int, between(16, 4_000_000)] = _fib.max_routes6
    aggregate: bool = _fib.aggregate
    huge_pages: Annotated[str, one_of("try", "never", "require")] = _fib.huge_pages
    audit: Annotated[float, duration(0, 86_400, "60s")] = _fib.audit
    publish: PublishSection = PublishSection()


class EventsSection(Section):
    queue_bytes: Annotated[int, between(EVENT_SIZE, 1 << 24)] = EventsPlan().queue_bytes
    overflow: Annotated[str, one_of("drop-newest", later=("coalesce", "block"))] = "drop-newest"


class IcmpSection(Section):
    rate: Annotated[int, between(0, 1_000_000)] = _icmp.rate
    burst: Annotated[int, between(1, 1_000_000)] = _icmp.burst
    per_source: Annotated[int, between(1, 1_000_000)] = _icmp.per_source


class HoldSection(Section):
    packets: Annotated[int, between(1, 65536)] = _hold.packets
    per_neighbour: Annotated[int, between(1, 4096)] = _hold.per_neighbour
    timeout: Annotated[float, duration(0.1, 60, "3s")] = _hold.timeout


class RingsSection(Section):
    slots: Annotated[int, between(8, 65536)] = _rings.slots
    slot_bytes: Annotated[int, between(2048, 1 << 20)] = _rings.slot_bytes
    max_memory: Annotated[int, between(1 << 20, 1 << 40)] = _rings.max_memory


class NeighboursSection(Section):
    max: Annotated[int, between(16, 65000)] = NeighboursPlan().max


class LogSection(Section):
    level: Annotated[str, one_of("debug", "info", "warning", "error")] = LogPlan().level
    format: Annotated[str, one_of("text", "json")] = LogPlan().format


class InterfaceSection(Section):
    name: Annotated[str, interface_name()]
    address: Annotated[list[Annotated[str, interface_address()]], listed()] = []
    mtu: Annotated[int, between(576, 65535, "jumbo frames are usually 9000")] | None = None
    offload: Annotated[str, one_of("fix", later=("refuse", "trust"))] = "fix"


class NexthopSection(Section):
    via: Annotated[str, nexthop_address()] | None = None
    dev: Annotated[str, interface_name()] | None = None
    weight: Annotated[int, between(1, 255)] = 1


_TYPES = one_of("forward", "blackhole", "unreachable", "prohibit", usual=False)


class RouteSection(Section):
    dst: Annotated[str, prefix()]
    type: Annotated[str, _TYPES] = "forward"
    via: Annotated[str, nexthop_address()] | None = None
    dev: Annotated[str, interface_name()] | None = None
    nexthops: list[NexthopSection] = []
    metric: Annotated[int, between(0, MAX_METRIC)] = 0
    distance: Annotated[int, between(1, 254, "255 means never")] = 1


class File(Section):
    """The whole file."""

    schema_: Annotated[int, between(1, 1, "this build reads schema 1")] = Field(1, alias="schema")
    router: RouterSection = RouterSection()
    management: ManagementSection = ManagementSection()
    workers: WorkersSection = WorkersSection()
    control: ControlSection = ControlSection()
    rib: RibSection = RibSection()
    process: ProcessSection = ProcessSection()
    fib: FibSection = FibSection()
    events: EventsSection = EventsSection()
    icmp: IcmpSection = IcmpSection()
    hold: HoldSection = HoldSection()
    rings: RingsSection = RingsSection()
    neighbours: NeighboursSection = NeighboursSection()
    interface: list[InterfaceSection] = []
    route: list[RouteSection] = []
    log: LogSection = LogSection()


# The tables by their path without list indexes: for "known keys: ...".
TABLES: dict[tuple[str, ...], type[Section]] = {
    (): File,
    ("router",): RouterSection,
    ("management",): ManagementSection,
    ("workers",): WorkersSection,
    ("workers", "restart"): RestartSection,
    ("control",): ControlSection,
    ("rib",): RibSection,
    ("process",): ProcessSection,
    ("fib",): FibSection,
    ("fib", "publish"): PublishSection,
    ("events",): EventsSection,
    ("icmp",): IcmpSection,
    ("hold",): HoldSection,
    ("rings",): RingsSection,
    ("neighbours",): NeighboursSection,
    ("interface",): InterfaceSection,
    ("route",): RouteSection,
    ("route", "nexthops"): NexthopSection,
    ("log",): LogSection,
}

# Keys people know from the manual that this build does not act on, with what to do today.
LATER = {
    ("import",): "route import from the kernel and FPM comes later; use `ribcage route load`",
    ("exporter",): "the metrics exporter comes later; use `ribcage -j stats`",
    ("web",): "the web page comes later; `teach = true` goes under [router]",
    ("management", "confirm_timeout"): "confirmed changes come later",
    ("management", "rollback_keep"): "the history of configurations comes later",
    ("management", "socket"): "its place follows from the name and $RIBCAGE_RUN_DIR",
}


def keys_of(table: type[Section]) -> list[str]:
    """The keys as a file writes them."""
    old = OLD_PROCESS_KEYS if table is WorkersSection else ()
    return [info.alias or name for name, info in table.model_fields.items() if name not in old]
