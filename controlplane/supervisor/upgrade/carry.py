"""Takes the state out of the supervisor's parts, and puts it back into those of another image.

    image = capture(parts, story)        # the old build; nothing is changed by it
    objects = objects_of(image, create)  # the new one: before the parts are made
    restore(parts, image)                # and once they are

What a slot keeps is carried field by field, if it is a plain value: a field that one of the two
builds does not have is left out there. Timers cross as the seconds that are left.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from ribcage.controlplane.supervisor.children.adoption import Adoption
from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context, Fib
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.guardian.ward import Ward
from ribcage.controlplane.supervisor.messages import Messages
from ribcage.controlplane.supervisor.resources.buckets import BUCKETS
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.controlplane.supervisor.resources.objects import CreateStats, Keep, Objects
from ribcage.controlplane.supervisor.resources.users import Users
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.controlplane.supervisor.statefile import State
from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.shared.plan import Plan
from ribcage.shared.process import log as lines
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.names import Names
from ribcage.shared.protocol import Speaks, agree, ours

PLAIN = (bool, int, float, str, type(None))
HELD = ("role", "index", "pidfd", "channel", "timer", "successor")  # of a slot: not values


@dataclass(frozen=True, slots=True)
class Parts:
    """What the state is in."""

    context: Context
    lifecycle: Lifecycle
    messages: Messages
    adoption: Adoption
    lock: Callable[[], SupervisorLock]  # it may be another one by now
    log_file: LogFile | None
    manager: Manager
    ward: Ward


def capture(parts: Parts, python: str, story: dict[str, Any]) -> Image:
    """Everything that makes this supervisor the one it is; `python` is what runs it."""
    context, messages = parts.context, parts.messages
    found = {"lock": parts.lock().fd, "listener": parts.adoption.listener(),
             "sync": context.objects.sync}  # fmt: skip
    return Image(
        build=ours().build,
        python=python,
        names=context.names.to_json(),
        settings=context.settings.text,
        state=asdict(context.objects.state),
        limits=asdict(context.limits),
        log_file=_log_file(parts.log_file),
        log_level=lines.current().level,
        started_ns=context.started_ns,
        counters={"refused": messages.refused, "unknown": messages.unknown,
                  "next_id": messages.next_id, "guests": parts.adoption.refused,
                  "hung": messages.watchdog.killed},
        children=[_child(child) for child in context.table.all()],
        ports=context.ports.rows(),
        groups=context.ports.groups(),
        buckets=None if (table := parts.lifecycle.buckets) is None else list(table),
        plan_id=context.plan_id,
        users={"why": context.users.why, "fd": context.users.fd},
        stats={str(index): fd for index, fd in context.objects.stats.items()},
        bells=context.bells.pairs(),
        fib=None if context.fib is None else asdict(context.fib),
        fds={name: fd for name, fd in found.items() if fd >= 0},
        story=story,
        store=dict(context.store.kept),
        manager=_manager(parts),
        successor=parts.ward.successor,
    )  # fmt: skip


def objects_of(
    image: Image, plan: Plan, create_stats: CreateStats, keep: Keep
) -> tuple[Objects, Users]:
    """The objects of the old image, open as they were, and whose they are. Raises KeyError,
    TypeError, ValueError."""
    names = Names.from_json(image.names)
    state = State.from_json(image.state, names.instance)
    wanted, fd = plan.process.users if state.users else None, image.users.get("fd", -1)
    users = Users.resume(wanted, image.users.get("why"), state.users, fd)
    objects = Objects(names, state, create_stats, users, keep)
    objects.stats = {int(index): fd for index, fd in image.stats.items()}
    objects.sync = image.fds.get("sync", -1)
    return objects, users


def manager_of(image: Image) -> Manager:
    """Whoever restarts us, and keeps our descriptors, goes on doing so."""
    body = image.manager
    manager = Manager(str(body.get("address", "")), float(body.get("watchdog", 0.0)))
    manager.restarts = int(body.get("restarts", 0))
    guardian = body.get("guardian")
    manager.guardian = None if guardian is None else (int(guardian[0]), int(guardian[1]))
    return manager


def log_file_of(image: Image) -> LogFile | None:
    if image.log_file is None:
        return None
    return LogFile(image.log_file["path"], own=bool(image.log_file["own"]))


def restore(parts: Parts, image: Image) -> None:
    """Into parts that were just made; nothing was forked and no message read yet."""
    context, messages = parts.context, parts.messages
    context.started_ns = image.started_ns
    messages.refused = image.counters.get("refused", 0)
    messages.unknown = image.counters.get("unknown", 0)
    messages.next_id = image.counters.get("next_id", 0)
    messages.watchdog.killed = image.counters.get("hung", 0)
    parts.adoption.refused = image.counters.get("guests", 0)
    lines.set_level(image.log_level)
    context.bells.take(image.bells)
    if image.fib is not None:
        fib = image.fib
        context.fib = Fib(fib["name"], fib["size"], fib["fd"], fib["sync"])
    context.plan_id = image.plan_id
    context.ports.resume(image.ports, image.groups)
    if image.buckets is not None and len(image.buckets) == BUCKETS:
        parts.lifecycle.buckets = tuple(image.buckets)
    for body in image.children:
        child = context.table.slot(body["role"], body["index"])
        if child is not None:
            _fill(parts, child, body)
    if "listener" in image.fds:
        listener = socket.socket(fileno=image.fds["listener"])
        listener.setblocking(False)
        parts.adoption.resume(listener, context.users.group)


# ---- slots ----


def _child(child: Child) -> dict[str, Any]:
    left = None
    if child.timer is not None and child.timer.callback is not None:
        left = max(0.0, child.timer.when - time.monotonic())
    channel = child.channel
    return {
        "role": child.role,
        "index": child.index,
        "pidfd": child.pidfd if child.running else -1,
        "channel": -1 if channel is None else channel.fileno(),
        "outbox": [] if channel is None else [
            {"message": message, "fds": fds} for message, fds in channel.waiting()
        ],
        "timer_left": left,
        "speaks": child.speaks.to_json(),
        "backoff": values_of(child.backoff),
        "values": values_of(child),
    }  # fmt: skip


def _fill(parts: Parts, child: Child, body: dict[str, Any]) -> None:
    set_values(child, body["values"])
    set_values(child.backoff, body["backoff"])
    child.speaks = Speaks.of({"protocol": body["speaks"]})
    child.pidfd = body["pidfd"]
    lifecycle, loop = parts.lifecycle, parts.context.loop
    if body["channel"] >= 0:
        child.channel = Channel.from_fd(body["channel"])
        child.channel.version = agree(ours(), child.speaks)
        for one in body["outbox"]:
            child.channel.post(one["message"], one["fds"])
            for fd in one["fds"].values():
                os.close(fd)  # sent, or copied
        lifecycle.serve(child)
        parts.lifecycle.handover.meet(child, child.speaks)
    if child.running and not child.own:
        lifecycle.adopt_watch(child)
    if not child.running and child.state == "waiting":
        child.timer = loop.after(body["timer_left"] or 0.0, lambda: lifecycle.start(child))
    elif not child.running:
        child.state = "absent"
    lifecycle.expect_ready(child)


def values_of(holder: Any) -> dict[str, Any]:
    """The plain values among the fields of a dataclass."""
    found: dict[str, Any] = {}
    for one in fields(holder):
        value = getattr(holder, one.name)
        many = isinstance(value, list | set | deque | tuple)
        if one.name in HELD or not (isinstance(value, PLAIN) or many):
            continue
        if many and not all(isinstance(item, PLAIN) for item in value):
            continue
        found[one.name] = list(value) if many else value
    return found


def set_values(holder: Any, values: dict[str, Any]) -> None:
    """Those this build has, in the kind it keeps them in."""
    kinds: dict[str, Callable[[Any], Any]] = {"list": list, "set": set, "deque": deque,
                                              "tuple": tuple}  # fmt: skip
    for name in {one.name for one in fields(holder)} & values.keys():
        kind = kinds.get(type(getattr(holder, name)).__name__)
        value = values[name]
        setattr(holder, name, value if kind is None or value is None else kind(value))


def _manager(parts: Parts) -> dict[str, Any]:
    manager, ward = parts.manager, parts.ward
    guardian = None if manager.guardian is None else [ward.pid, ward.start]
    return {"address": manager.address, "watchdog": manager.watchdog, "guardian": guardian,
            "restarts": manager.restarts}  # fmt: skip


def _log_file(file: LogFile | None) -> dict[str, Any] | None:
    return None if file is None else {"path": str(file.path), "own": file.own}
