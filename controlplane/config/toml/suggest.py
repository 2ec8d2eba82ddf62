"""Did you mean ...? For keys, values and commands. Standard library only; pure."""

import difflib
from collections.abc import Iterable

# What people call a key or a value elsewhere -> what it is called here.
SYNONYMS = {
    "strategy": "sync",
    "synchronisation": "sync",
    "synchronization": "sync",
    "lpm": "lookup4",
    "lookup": "lookup4",
    "engine": "lookup4",
    "destination": "dst",
    "prefix": "dst",
    "network": "dst",
    "to": "dst",
    "gateway": "via",
    "gw": "via",
    "next_hop": "via",
    "nexthop": "nexthops",
    "next_hops": "nexthops",
    "device": "dev",
    "oif": "dev",
    "iface": "interface",
    "interfaces": "interface",
    "port": "interface",
    "routes": "route",
    "static": "route",
    "addresses": "address",
    "addr": "address",
    "ip": "address",
    "ipv4": "address",
    "ipv6": "address",
    "ifname": "name",
    "hostname": "name",
    "instance": "name",
    "router-id": "router_id",
    "id": "router_id",
    "cost": "metric",
    "priority": "metric",
    "preference": "distance",
    "admin_distance": "distance",
    "processes": "count",
    "threads": "count",
    "cores": "cpus",
    "cpu": "cpus",
    "affinity": "cpus",
    "uids": "users",
    "user": "users",
    "burst_size": "batch",
    "permissions": "mode",
    "owner": "group",
    "verbosity": "level",
    "loglevel": "level",
    "logging": "log",
    "queue": "queue_bytes",
    "slot_size": "slot_bytes",
    "worker": "workers",
    "neighbor": "neighbours",
    "neighbors": "neighbours",
    "neighbour": "neighbours",
    # values
    "drop": "blackhole",
    "discard": "blackhole",
    "null": "blackhole",
    "null0": "blackhole",
    "reject": "unreachable",
    "deny": "prohibit",
    "prohibited": "prohibit",
    "unicast": "forward",
    "rcu": "epoch",
    "warn": "warning",
    "verbose": "debug",
}


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    words = list(known)
    lower = word.lower().replace("-", "_")[:64]
    if lower in words or (lower in SYNONYMS and SYNONYMS[lower] in words):
        return lower if lower in words else SYNONYMS[lower]
    meant = {theirs: ours for theirs, ours in SYNONYMS.items() if ours in words}
    if lower.replace("_", "-") in meant:
        return meant[lower.replace("_", "-")]
    found = difflib.get_close_matches(lower, [*words, *meant], n=1, cutoff=0.65)
    return meant.get(found[0], found[0]) if found else None
