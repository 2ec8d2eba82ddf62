"""What a new plan changes in a running router, and which plans it does not take.

    refuse_plan(new, running)                       # another router's, or an empty one
    kept = keep_running_values(body, new, running)  # those of RESTART get their old value in `body`
    kept == ["rings.slots"]           # what the reload's answer names
    changes(new, running)             # ports, routes and settings, for people

A process that is restarted later gets the running plan, so it works with the same limits as its
peers; the file's other values come into force when the whole router is started again. Pure.
"""

from dataclasses import fields, is_dataclass
from typing import Any

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan

# Each setting stands in exactly one of the two (held by a test): a new one has to be thought of.
LIVE = frozenset(
    {
        "config_path", "file_name", "router_id", "interfaces", "routes", "orphan_timeout",
        "workers.count", "workers.batch", "workers.cpus",
        "workers.restart_max", "workers.restart_window", "workers.hang_timeout",
        "control.hang_timeout",
        "rib.checkpoint_interval", "rib.stale_time",
        "fib.max_delay", "fib.max_batch", "fib.aggregate", "fib.audit",
        "icmp.rate", "icmp.burst", "icmp.per_source", "hold.timeout",
        "rings.max_memory", "neighbours.max",
        "management.max_clients", "management.max_line",
        "management.request_timeout", "management.idle_timeout",
        "management.operators", "management.admins",
        "management.max_per_user", "management.max_rate", "management.max_cpu",
        "log.level",
    }
)  # fmt: skip
RESTART = (
    # A process cannot change its user any more, nor get back what was taken from it.
    "process.users", "process.seccomp", "process.core_dumps",
    "fib.lookup4", "fib.lookup6", "fib.sync", "fib.max_routes4", "fib.max_routes6",  # the segment
    "fib.huge_pages",
    "rib.checkpoint",  # its folder is made at the start
    "events.queue_bytes",  # made with the queue
    "hold.packets", "hold.per_neighbour",  # memory taken before the first packet
    "rings.slots", "rings.slot_bytes",  # a ring is replaced only with the loss of what is in it
    "management.mode", "management.group",  # of a socket that is bound
    "log.format",  # one file, one format
)  # fmt: skip
FIXED = ("name", "schema", "teach")  # no file changes them: reloading.py, plan.py


def settings_of(plan: Plan) -> dict[str, object]:
    """ "section.key" -> value, of every setting."""
    found: dict[str, object] = {}
    for one in fields(plan):
        value = getattr(plan, one.name)
        if is_dataclass(value):
            found |= {f"{one.name}.{key.name}": getattr(value, key.name) for key in fields(value)}
        else:
            found[one.name] = value
    return found


def refuse_plan(new: Plan, running: Plan, allow_empty: bool = False) -> None:
    """E_OTHER_ROUTER, E_EMPTY_PLAN (exit 3): a file that is hardly meant for this router."""
    if new.file_name not in (None, running.file_name, running.name):
        raise RibcageError(
            "E_OTHER_ROUTER",
            f'the file names router "{new.file_name}", this one is "{running.name}"',
            "give it the other file, or change router.name in it; nothing was changed",
            Exit.CONFIG,
        )
    if not (allow_empty or new.interfaces or new.routes) and (running.interfaces or running.routes):
        raise RibcageError(
            "E_EMPTY_PLAN",
            f"the file has no interface and no route; the router has {len(running.interfaces)} "
            f"and {len(running.routes)}",
            "--allow-empty, if they are to go; nothing was changed",
            Exit.CONFIG,
        )


def changes(new: Plan, running: Plan) -> dict[str, Any]:
    """Names of interfaces and settings, prefixes of routes, as {"added", "removed", "changed"}."""
    theirs, ours = settings_of(new), settings_of(running)
    bulk = (*FIXED, "interfaces", "routes", "config_path", "file_name")
    return {
        "interfaces": _difference(
            {port.name: port for port in new.interfaces},
            {port.name: port for port in running.interfaces},
        ),
        "routes": _difference(
            {(route.dst, route.metric): route for route in new.routes},
            {(route.dst, route.metric): route for route in running.routes},
        ),
        "settings": [name for name in theirs if name not in bulk and theirs[name] != ours[name]],
    }


def _difference(new: dict[Any, Any], old: dict[Any, Any]) -> dict[str, list[str]]:
    both = new.keys() & old.keys()
    found = {
        "added": [key for key in new if key not in old],
        "removed": [key for key in old if key not in new],
        "changed": [key for key in new if key in both and new[key] != old[key]],
    }
    return {word: [_named(key) for key in keys] for word, keys in found.items()}


def _named(key: object) -> str:
    if isinstance(key, tuple):
        prefix, metric = key
        return f"{prefix} metric {metric}" if metric else str(prefix)
    return str(key)


def needs_restart(new: Plan, running: Plan) -> list[str]:
    """The settings that differ and that no reload changes."""
    theirs, ours = settings_of(new), settings_of(running)
    return [name for name in RESTART if theirs[name] != ours[name]]


def keep_running_values(body: dict[str, Any], new: Plan, running: Plan) -> list[str]:
    """Puts the running values back into `body`, which is `new` as JSON; returns their names."""
    names = needs_restart(new, running)
    encoded = running.to_json()
    for name in names:
        section, _, key = name.partition(".")
        body.setdefault(section, {})[key] = encoded[section][key]
    return names
