"""The plan: a validated configuration as plain values, the form in which it crosses processes.

`ribcage run` compiles a TOML file into a Plan (controlplane/config), writes `plan.dumps()` into
a memfd and executes the supervisor, which reads it with `Plan.from_json(text)`; the same object
travels in `attach` and `reload`. Any process may build or read one: standard library only, no
file, no clock, no machine facts.

from_json() is strict (an unknown key, a wrong type or an absurd number is a PlanError that names
the place) and bounded, but it does not repeat what the config's validation promises: that
networks do not overlap, that next hops are connected, that a CPU exists.

Units: seconds (float), bytes (int), packets (int). Addresses and prefixes are canonical text.
"""

import functools
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, Self

SCHEMA = 1
MAX_TEXT = 16 << 20  # bytes of JSON that from_json() looks at
MAX_ITEMS = 200_000  # entries of one list
MAX_STRING = 4096
MAX_NUMBER = 1 << 48  # no size, count or time of ours is near it

RouteType = Literal["forward", "blackhole", "unreachable", "prohibit"]


class PlanError(ValueError):
    """A plan that is not one of ours; the message names the field ("workers.count: ...")."""


@dataclass(frozen=True, slots=True)
class WorkersPlan:
    """count processes; cpus[i % len] is worker i's CPU. At most restart_max quick restarts in
    restart_window seconds, slow ones for ever. A worker that takes no frame for hang_timeout
    seconds while one waits is replaced."""

    count: int = 2
    cpus: tuple[int, ...] | None = None
    batch: int = 64
    restart_max: int = 5
    restart_window: float = 60.0
    hang_timeout: float = 0.5


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """What a process may do. users: an inclusive range of uids, one a process, as root; None: all
    keep the one there is. seccomp: off, log or enforce."""

    users: tuple[int, int] | None = (61000, 61063)
    seccomp: str = "enforce"
    core_dumps: bool = False


@dataclass(frozen=True, slots=True)
class ControlPlan:
    """hang_timeout: seconds without an answer after which control counts as dead; 0: never."""

    hang_timeout: float = 3.0


@dataclass(frozen=True, slots=True)
class RibPlan:
    """checkpoint: routes outlive a reboot in a file, written every checkpoint_interval while they
    change; what no source announced again within stale_time goes."""

    checkpoint: bool = False
    checkpoint_interval: float = 300.0
    stale_time: float = 120.0


@dataclass(frozen=True, slots=True)
class FibPlan:
    """What the FIB segment is made for, and how the publisher batches (max_delay seconds).
    lookup4, lookup6, sync: words of the C lists; empty: the build's default.
    aggregate: routes whose covering route has the same next hops stay out of the FIB.
    audit: seconds in which all of RIB and FIB is compared, in the background; 0: never."""

    lookup4: str = ""
    lookup6: str = ""
    sync: str = ""
    max_routes4: int = 1_200_000
    max_routes6: int = 300_000
    max_delay: float = 0.001
    max_batch: int = 256
    aggregate: bool = False
    huge_pages: str = "try"
    audit: float = 60.0


@dataclass(frozen=True, slots=True)
class EventsPlan:
    """The SysV queue; the kernel may hold less than queue_bytes (kernel.msgmnb)."""

    queue_bytes: int = 16384


@dataclass(frozen=True, slots=True)
class IcmpPlan:
    """ICMP errors we originate: per second and worker, burst, and per second and source."""

    rate: int = 100
    burst: int = 50
    per_source: int = 10


@dataclass(frozen=True, slots=True)
class HoldPlan:
    """Packets a worker keeps while a neighbour is being resolved."""

    packets: int = 512
    per_neighbour: int = 16
    timeout: float = 3.0


@dataclass(frozen=True, slots=True)
class RingsPlan:
    """One receive ring per (port, worker): slots x slot_bytes; max_memory over all rings."""

    slots: int = 256
    slot_bytes: int = 69632
    max_memory: int = 1 << 30


@dataclass(frozen=True, slots=True)
class NeighboursPlan:
    """Resolved on-link hosts kept as host routes."""

    max: int = 4096


@dataclass(frozen=True, slots=True)
class InterfacePlan:
    """A port. addresses are "10.0.1.1/24" texts (empty: those the kernel has); mtu None: as is."""

    name: str
    addresses: tuple[str, ...] = ()
    mtu: int | None = None
    offload: str = "fix"


@dataclass(frozen=True, slots=True)
class NexthopPlan:
    """At least one of via (address) and dev (interface name) is set."""

    via: str | None = None
    dev: str | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """A static route; nexthops is empty exactly when type is not "forward"."""

    dst: str
    type: RouteType = "forward"
    nexthops: tuple[NexthopPlan, ...] = ()
    metric: int = 0
    distance: int = 1


@dataclass(frozen=True, slots=True)
class ManagementPlan:
    """The management socket: its mode and group, and what one client may ask of it."""

    mode: int = 0o600
    group: str | None = None
    max_clients: int = 32
    max_line: int = 65536
    request_timeout: float = 5.0
    idle_timeout: float = 600.0
    operators: tuple[str, ...] = ()  # users, numbers, or "@group": may change routes
    admins: tuple[str, ...] = ()  # may stop and reload as well
    max_per_user: int = 16  # clients of one user; admins are not bound by this and what follows
    max_rate: int = 2000  # requests a second of one user
    max_cpu: int = 50  # percent of control's time that one user's requests may take


@dataclass(frozen=True, slots=True)
class LogPlan:
    """level: debug, info, warning or error; format: text or json."""

    level: str = "info"
    format: str = "text"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the processes need to know. Immutable: a reload makes a new one."""

    name: str
    schema: int = SCHEMA
    router_id: str | None = None
    config_path: str | None = None
    file_name: str | None = None  # the router the file names, if it names one
    workers: WorkersPlan = field(default_factory=WorkersPlan)
    control: ControlPlan = field(default_factory=ControlPlan)
    rib: RibPlan = field(default_factory=RibPlan)
    process: ProcessPlan = field(default_factory=ProcessPlan)
    fib: FibPlan = field(default_factory=FibPlan)
    events: EventsPlan = field(default_factory=EventsPlan)
    icmp: IcmpPlan = field(default_factory=IcmpPlan)
    hold: HoldPlan = field(default_factory=HoldPlan)
    rings: RingsPlan = field(default_factory=RingsPlan)
    neighbours: NeighboursPlan = field(default_factory=NeighboursPlan)
    interfaces: tuple[InterfacePlan, ...] = ()
    routes: tuple[RoutePlan, ...] = ()
    management: ManagementPlan = field(default_factory=ManagementPlan)
    log: LogPlan = field(default_factory=LogPlan)
    orphan_timeout: float = 30.0
    teach: bool = False

    def to_json(self) -> dict[str, Any]:
        """JSON values, ready for a message body. Rows leave out what has its default value."""
        encoded = _encode(self)
        assert isinstance(encoded, dict)
        return encoded

    def dumps(self) -> str:
        """to_json() as one compact line of text."""
        return json.dumps(self.to_json(), separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, data: "str | bytes | Mapping[str, Any]") -> Self:
        """A plan from text or from an already decoded object; PlanError for anything else."""
        if isinstance(data, str | bytes):
            if len(data) > MAX_TEXT:
                raise PlanError(f"plan: {len(data)} bytes, at most {MAX_TEXT} are read")
            try:
                data = json.loads(data)
            except (ValueError, RecursionError) as error:
                raise PlanError(f"plan: not JSON ({error})") from None
        plan = _decode(cls, data, "plan")
        assert isinstance(plan, cls)
        if plan.schema != SCHEMA:
            raise PlanError(f"plan has schema {plan.schema}, this build reads {SCHEMA}")
        return plan


# Lists of these can be long, and a channel message is short: they omit their defaults.
_ROWS = (InterfacePlan, NexthopPlan, RoutePlan)


def _encode(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((f, getattr(value, f.name)) for f in fields(value))
        rows = isinstance(value, _ROWS)
        return {f.name: _encode(v) for f, v in pairs if not (rows and v == f.default)}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(kind: Any, value: object, where: str) -> object:
    """value as the annotated type, or a PlanError; knows just the types used above."""
    if is_dataclass(kind):
        return _decode_object(kind, value, where)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # X | None is the only union here
        return None if value is None else _decode(args[0], value, where)
    if origin is Literal:
        if value not in args:
            raise PlanError(f"{where}: {value!r:.40} is not one of {', '.join(args)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
            raise PlanError(f"{where}: expected a list of at most {MAX_ITEMS}")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise PlanError(f"{where}: expected {len(args)} values, not {len(value)}")
        return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    return _decode_scalar(kind, value, where)


def _decode_object(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, Mapping):
        raise PlanError(f"{where}: expected an object, not {type(value).__name__}")
    hints, required = _shape(kind)
    if not value.keys() <= hints.keys():
        unknown = sorted(str(key)[:40] for key in value if key not in hints)
        raise PlanError(f"{where}: unknown key {unknown[0]!r}")
    for name in required:
        if name not in value:
            raise PlanError(f"{where}: {name} is missing")
    return kind(**{k: _decode(hints[k], v, f"{where}.{k}") for k, v in value.items()})


@functools.cache
def _shape(kind: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Types by name, and the names that have no default; asked once a row."""
    required = tuple(
        f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING
    )
    return typing.get_type_hints(kind), required


def _decode_scalar(kind: Any, value: object, where: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= MAX_NUMBER else value
    # bool is an int to Python, not to us.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise PlanError(f"{where}: expected {kind.__name__}, not {type(value).__name__}")
    if isinstance(value, str) and (len(value) > MAX_STRING or "\0" in value):
        raise PlanError(f"{where}: text too long or with a NUL")
    if isinstance(value, int | float) and not 0 <= value <= MAX_NUMBER:  # NaN fails this too
        raise PlanError(f"{where}: {value} is outside 0..{MAX_NUMBER}")
    return value
