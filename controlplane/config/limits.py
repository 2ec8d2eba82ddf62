"""Checks a file against the machine: CPUs, groups, queue and ring sizes, strategies. Pure.

Like links.py it reads the raw document, and repeats nothing that translate.py has told.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from ribcage.controlplane.config.links import rows
from ribcage.controlplane.config.machine import Machine
from ribcage.controlplane.config.model import (
    EVENT_SIZE,
    MAX_WORKERS,
    OLD_PROCESS_KEYS,
    OLD_STRATEGIES,
)
from ribcage.controlplane.config.toml.positions import KeyPath, Positions
from ribcage.controlplane.config.toml.problems import Problem
from ribcage.controlplane.config.types import ACCOUNT, GROUP, user_range
from ribcage.shared.memory.fib_sync import DEFAULT_STRATEGY, TEACHING
from ribcage.shared.plan import ProcessPlan, RingsPlan, WorkersPlan

RANGE = TypeAdapter[tuple[int, int] | None](Annotated[tuple[int, int] | None, user_range()])
PAGE = 4096  # a ring slot is a whole number of pages: blocks hold whole slots


def check_limits(
    data: Mapping[str, Any], machine: Machine, positions: Positions
) -> Iterator[Problem]:
    """E104, E109, E115, E117, W201 to W205."""
    yield from _cpus(data, machine, positions)
    yield from _management(data, machine, positions)
    yield from _queue(data, machine, positions)
    yield from _rings(data, positions)
    yield from _sync(data, positions)
    yield from _process(data, positions)
    yield from _users(data, machine, positions)


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _whole(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _cpus(data: Mapping[str, Any], machine: Machine, positions: Positions) -> Iterator[Problem]:
    cpus = _table(data, "workers").get("cpus")
    for number, cpu in enumerate(cpus if isinstance(cpus, list) else ()):
        if isinstance(cpu, int) and not isinstance(cpu, bool) and cpu not in machine.cpus:
            path: KeyPath = ("workers", "cpus", number)
            yield Problem(
                "E109",
                f"CPU {str(cpu)[:20]} does not exist on this machine (it has {machine.cpu_text()})",
                positions.value(path),
                'leave cpus out and use count = "auto" to follow the machine',
            )


def _management(
    data: Mapping[str, Any], machine: Machine, positions: Positions
) -> Iterator[Problem]:
    table = _table(data, "management")
    group, mode = table.get("group"), table.get("mode")
    if isinstance(group, str) and GROUP.fullmatch(group) and not machine.has_group(group):
        span = positions.value(("management", "group"))
        text = f'there is no group "{group[:40]}" on this machine'
        yield Problem("E117", text, span, f"groupadd --system {group[:40]}")
    for key in ("operators", "admins"):
        names = table.get(key)
        for number, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str) and ACCOUNT.fullmatch(name) and not machine.has_account(name):
                kind, bare = ("group", name[1:41]) if name[0] == "@" else ("user", name[:40])
                text = f'there is no {kind} "{bare}" on this machine'
                span = positions.value(("management", key, number))
                yield Problem("E117", text, span, f"{kind}add --system {bare}")
    mode = "0600" if mode is None else mode
    if not (isinstance(mode, str) and len(mode) in (3, 4) and mode.isdecimal()):
        return
    everybody, members = mode[-1] in "2367", mode[-2] in "2367" and isinstance(group, str)
    if everybody:
        span = positions.value(("management", "mode"))
        text = f"mode {mode} lets every local user in, to look at all there is"
        yield Problem("W202", text, span, '"0660" with group = "ribcage" is usual')
    for key in ("operators", "admins") if not (everybody or members) else ():
        if table.get(key):
            text = f"{key} may not open the socket: mode {mode}"
            text += (
                " lets no group in" if mode[-2] not in "2367" else " is for a group, none is set"
            )
            hint = 'mode = "0660", and group = one they are all in'
            yield Problem("W201", text, positions.value(("management", key)), hint)


def _sync(data: Mapping[str, Any], positions: Positions) -> Iterator[Problem]:
    sync = _table(data, "fib").get("sync")
    if isinstance(sync, str) and sync in OLD_STRATEGIES:
        new, span = OLD_STRATEGIES[sync], positions.value(("fib", "sync"))
        yield Problem("W205", f'sync = "{sync}" is called "{new}" now', span, f'write "{new}"')
    if sync in TEACHING and _table(data, "router").get("teach") is not True:
        yield Problem(
            "W204",
            f'sync = "{sync}" gives wrong answers under change: only run --teach takes it',
            positions.value(("fib", "sync")),
            f'write "{DEFAULT_STRATEGY}", or set teach = true in [router]',
        )


def _process(data: Mapping[str, Any], positions: Positions) -> Iterator[Problem]:
    for key in OLD_PROCESS_KEYS:
        if key in _table(data, "workers"):
            text = f"{key} stands under [process] now"
            span = positions.value(("workers", key))
            yield Problem("W205", text, span, f"move the line to [process]: {key} = ...")


def _users(data: Mapping[str, Any], machine: Machine, positions: Positions) -> Iterator[Problem]:
    """Control has one, and each worker."""
    old = "users" not in _table(data, "process") and "users" in _table(data, "workers")
    table = "workers" if old else "process"
    path: KeyPath = (table, "users")
    written = _table(data, table).get("users")
    try:
        users = RANGE.validate_python(written) if written is not None else ProcessPlan().users
    except ValidationError:
        return
    count: object = _table(data, "workers").get("count", WorkersPlan().count)
    workers = max(1, len(machine.cpus) - 1) if count == "auto" else _whole(count, 0)
    if users is None or not 0 < workers <= MAX_WORKERS:
        return
    first, last = users
    if last - first < workers:
        yield Problem(
            "E115",
            f"control and {workers} worker{'s' if workers > 1 else ''} need {workers + 1} users,"
            f" {first}-{last} {'has' if last > first else 'is'} {last - first + 1}",
            positions.value(path if written is not None else ("workers", "count")),
            f'users = "{first}-{first + workers}" under [process] is the least',
        )


def _queue(data: Mapping[str, Any], machine: Machine, positions: Positions) -> Iterator[Problem]:
    wanted = _whole(_table(data, "events").get("queue_bytes"), 0)
    limit = machine.msgmnb
    if limit < wanted <= 1 << 24:
        yield Problem(
            "W203",
            f"queue_bytes {wanted} is above kernel.msgmnb ({limit}); the queue will hold"
            f" {limit // EVENT_SIZE} events, not {wanted // EVENT_SIZE}",
            positions.value(("events", "queue_bytes")),
            f"sysctl -w kernel.msgmnb={wanted} (before start; needs root)",
        )


def _rings(data: Mapping[str, Any], positions: Positions) -> Iterator[Problem]:
    table, default = _table(data, "rings"), RingsPlan()
    slots = _whole(table.get("slots"), default.slots)
    slot_bytes = _whole(table.get("slot_bytes"), default.slot_bytes)
    limit = _whole(table.get("max_memory"), default.max_memory)
    if slot_bytes % PAGE and 2048 <= slot_bytes <= 1 << 20:
        text = f"slot_bytes {slot_bytes} is not a multiple of {PAGE}"
        better = (slot_bytes // PAGE + 1) * PAGE
        yield Problem("E115", text, positions.value(("rings", "slot_bytes")), f"write {better}")
        return
    workers = _whole(_table(data, "workers").get("count"), WorkersPlan().count)
    ports = sum(1 for _ in rows(data, "interface")) + 1  # and the host port
    needed = slots * slot_bytes * ports * workers
    if not (0 < workers <= MAX_WORKERS and 8 <= slots <= 65536 and 0 < limit < needed):
        return
    key = next((k for k in ("max_memory", "slots", "slot_bytes") if k in table), None)
    path: KeyPath = ("rings", key) if key else ("rings",) if table else ("interface", 0)
    yield Problem(
        "E115",
        f"{ports} ports x {workers} workers x {slots} slots x {slot_bytes} bytes ="
        f" {needed >> 20} MiB of rings, max_memory is {limit >> 20} MiB",
        positions.value(path),
        f"slots = {max(8, limit // (slot_bytes * ports * workers))} under [rings] fits",
    )
