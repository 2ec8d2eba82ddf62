"""Which settings a running router can change, and what a reload does with the others.

    kept = keep_running_values(body, new, running)  # those of RESTART get their old value in `body`
    kept == ["rings.slots"]           # what the reload's answer names

A process that is restarted later gets the running plan, so it works with the same limits as its
peers; the file's other values come into force when the whole router is started again. Pure.
"""

from dataclasses import fields, is_dataclass
from typing import Any

from ribcage.shared.plan import Plan

# Each setting stands in exactly one of the two (held by a test): a new one has to be thought of.
LIVE = frozenset(
    {
        "config_path", "router_id", "interfaces", "routes", "orphan_timeout",
        "workers.count", "workers.batch", "workers.cpus",
        "workers.restart_max", "workers.restart_window", "workers.hang_timeout",
        "fib.max_delay", "fib.max_batch", "fib.aggregate",
        "icmp.rate", "icmp.burst", "icmp.per_source", "hold.timeout",
        "rings.max_memory", "neighbours.max",
        "management.max_clients", "management.max_line",
        "management.request_timeout", "management.idle_timeout",
        "log.level",
    }
)  # fmt: skip
RESTART = (
    "workers.users",  # a worker cannot change its user any more
    "fib.lookup4", "fib.lookup6", "fib.sync", "fib.max_routes4", "fib.max_routes6",  # the segment
    "fib.huge_pages",
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
