"""Compiles a configuration that passed every check into the Plan the processes run on. Pure."""

from typing import cast

from ribcage.controlplane.config.machine import Machine
from ribcage.controlplane.config.model import File, RouteSection, WorkersSection
from ribcage.shared.plan import (
    ControlPlan,
    EventsPlan,
    FibPlan,
    HoldPlan,
    IcmpPlan,
    InterfacePlan,
    LogPlan,
    ManagementPlan,
    NeighboursPlan,
    NexthopPlan,
    Plan,
    ProcessPlan,
    RibPlan,
    RingsPlan,
    RoutePlan,
    RouteType,
    WorkersPlan,
)


def compile_plan(file: File, machine: Machine, config_path: str | None = None) -> Plan:
    """What the file says, with "auto" answered for this machine."""
    fib, management = file.fib, file.management
    return Plan(
        name=file.router.name,
        router_id=file.router.router_id,
        config_path=config_path,
        file_name=file.router.name if "name" in file.router.model_fields_set else None,
        workers=_workers(file.workers, machine),
        control=ControlPlan(file.control.hang_timeout),
        rib=RibPlan(file.rib.checkpoint, file.rib.checkpoint_interval, file.rib.stale_time),
        process=_process(file),
        fib=FibPlan(
            lookup4=fib.lookup4,
            lookup6=fib.lookup6,
            sync=fib.sync,
            max_routes4=fib.max_routes4,
            max_routes6=fib.max_routes6,
            max_delay=fib.publish.max_delay,
            max_batch=fib.publish.max_batch,
            aggregate=fib.aggregate,
            huge_pages=fib.huge_pages,
            audit=fib.audit,
        ),
        events=EventsPlan(file.events.queue_bytes),
        icmp=IcmpPlan(file.icmp.rate, file.icmp.burst, file.icmp.per_source),
        hold=HoldPlan(file.hold.packets, file.hold.per_neighbour, file.hold.timeout),
        rings=RingsPlan(file.rings.slots, file.rings.slot_bytes, file.rings.max_memory),
        neighbours=NeighboursPlan(file.neighbours.max),
        interfaces=tuple(
            InterfacePlan(link.name, tuple(link.address), link.mtu, link.offload)
            for link in file.interface
        ),
        routes=tuple(_route(route) for route in file.route),
        management=ManagementPlan(
            mode=management.mode,
            group=management.group,
            max_clients=management.max_clients,
            max_line=management.max_line,
            request_timeout=management.request_timeout,
            idle_timeout=management.idle_timeout,
            operators=tuple(management.operators),
            admins=tuple(management.admins),
            max_per_user=management.max_per_user,
            max_rate=management.max_rate,
            max_cpu=management.max_cpu,
        ),
        log=LogPlan(file.log.level, file.log.format),
        orphan_timeout=file.router.orphan_timeout,
        teach=file.router.teach,
    )


def _workers(workers: WorkersSection, machine: Machine) -> WorkersPlan:
    return WorkersPlan(
        count=workers.count or max(1, len(machine.cpus) - 1),
        cpus=None if workers.cpus is None else tuple(workers.cpus),
        batch=workers.batch,
        restart_max=workers.restart.max,
        restart_window=workers.restart.window,
        hang_timeout=workers.hang_timeout,
    )


def _process(file: File) -> ProcessPlan:
    """Both places say the same; the new one counts where it says something."""
    process, workers = file.process, file.workers
    old_users = "users" in workers.model_fields_set and "users" not in process.model_fields_set
    old_calls = workers.seccomp is not None and "seccomp" not in process.model_fields_set
    return ProcessPlan(
        users=workers.users if old_users else process.users,
        seccomp=workers.seccomp if old_calls and workers.seccomp else process.seccomp,
        core_dumps=process.core_dumps,
    )


def _route(route: RouteSection) -> RoutePlan:
    hops: tuple[NexthopPlan, ...] = ()
    if route.type == "forward" and route.nexthops:
        hops = tuple(NexthopPlan(hop.via, hop.dev, hop.weight) for hop in route.nexthops)
    elif route.type == "forward":
        hops = (NexthopPlan(route.via, route.dev),)
    return RoutePlan(route.dst, cast(RouteType, route.type), hops, route.metric, route.distance)
