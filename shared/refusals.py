"""What an errno means to somebody who uses the router: the one place where it becomes an error.

    raise refused("rib_apply", error, prefix=prefix)             # what a C function returned
    except OSError as error:                                     # what the system refused
        raise refused("log_file", error.errno, path=path) from error

A row below names a call and an errno, or ANY for those that have no row of their own; the form is
filled with what the caller knows and with `why`, the errno in words. A call without a row is a bug
(E_INTERNAL). Forms show both sides: what was asked for, and what there is. Pure; any process, the
command line too: no C module is loaded for it.
"""

import errno
import os
from dataclasses import dataclass

from ribcage.shared.errors import Exit, RibcageError

ANY = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error to raise: its code, the forms of message and hint, and the exit status."""

    code: str
    message: str
    hint: str | None = None
    exit_code: Exit = Exit.INTERNAL


def refused(call: str, error: int | None, **facts: object) -> RibcageError:
    """The error for `error`, an errno of either sign, that `call` came back with."""
    number = abs(error or 0)
    found = REFUSALS.get((call, number)) or REFUSALS.get((call, ANY)) or UNEXPECTED
    why = os.strerror(number) if number else "no reason was given"
    words = {"call": call, "why": why, **facts}
    hint = found.hint.format(**words) if found.hint is not None else None
    return RibcageError(found.code, found.message.format(**words), hint, found.exit_code)


UNEXPECTED = Refusal("E_INTERNAL", "{call}: {why}")

RIB = {
    ("rib_apply", errno.ENOSPC): Refusal(
        "E_TABLE_FULL",
        "no room for {prefix}: the routing table is full; what was there is still in force",
        "raise fib.max_routes4 or fib.max_routes6 and start the router again",
        Exit.NO,
    ),
    ("rib_apply", errno.EDQUOT): Refusal(
        "E_LIMIT",
        "no room for {prefix}: its source has as many routes as it may have",
        "delete some of them first",
        Exit.NO,
    ),
    ("rib_apply", errno.E2BIG): Refusal(
        "E_CANDIDATES",
        "{prefix} has {candidates} routes already, which is the limit",
        "delete one of them first",
        Exit.NO,
    ),
    ("rib_apply", ANY): Refusal("E_ROW", "the routing table refused {prefix}: {why}"),
    ("rib_open", errno.EBADMSG): Refusal(
        "E_DAMAGED",
        "the routing table in shared memory does not hold together",
        "control makes it anew from the FIB and its sources, and keeps this one aside",
    ),
    ("rib_pending", errno.EOVERFLOW): Refusal(
        "E_JOURNAL",
        "more than {most} changes are unpublished; compare the tables whole",
    ),
    ("rib_walk", errno.EINVAL): Refusal(
        "E_CURSOR", "cursor, limit or filter is out of range", None, Exit.USAGE
    ),
    ("rib_sweep", errno.ESTALE): Refusal("E_STALE", "source {source} is past generation {old}"),
    ("rib_nexthop_intern", errno.ENOSPC): Refusal(
        "E_NEXTHOPS",
        "the table of next-hop sets is full",
        "use fewer different next hops",
        Exit.NO,
    ),
    ("rib_set_dead", errno.ENOENT): Refusal("E_NEXTHOP", "there is no next-hop set {id}"),
}
RIB["rib_nexthop_put", errno.ENOSPC] = RIB["rib_nexthop_intern", errno.ENOSPC]

FIB = {
    ("fib_apply", errno.E2BIG): Refusal(
        "E_TABLE_FULL",
        "no room for {prefix}: the IPv{family} forwarding table is full: its limit is {limit} "
        "routes",
        "raise fib.max_routes{family} in the config file and start the router again",
        Exit.NO,
    ),
    ("fib_apply", errno.ENOSPC): Refusal(
        "E_TABLE_FULL",
        "no room for {prefix}: the forwarding table's memory is used up (limit {limit} "
        "IPv{family} routes)",
        "raise fib.max_routes{family} in the config file and start the router again",
        Exit.NO,
    ),
    ("fib_apply", ANY): Refusal(
        "E_ROW", "the forwarding table refused {prefix} -> group {group}: {why}"
    ),
    ("fib_lookup", errno.EAGAIN): Refusal(
        "E_FIB_BUSY",
        "the FIB changed under a lookup {retries} times, or its lock was not free",
        "try again: a publish without pause, or a large one, keeps readers out that long",
        Exit.TIMEOUT,
    ),
    ("fib_open", errno.EBADMSG): Refusal(
        "E_FIB_CORRUPT",
        "segment {name} carries this build's layout but its content is not a FIB",
        "control builds another from the RIB and keeps this one aside",
    ),
    ("fib_open", errno.ENOLCK): Refusal(
        "E_SYNC", "the locks beside segment {name} are not those that its fib.sync needs"
    ),
    ("fib_open", ANY): Refusal("E_MAP", "no writer for segment {name}: {why}"),
    ("fib_locks", ANY): Refusal(
        "E_SYNC", "the locks beside this FIB are not those that its fib.sync needs"
    ),
    ("fib_lookup", errno.ENOLCK): Refusal(
        "E_SYNC",
        "this FIB is read under a lock, and this reader was given none",
        "only control and its workers have it; ask control",
    ),
    ("fib_lookup", ANY): Refusal("E_RANGE", "no such index in the FIB ({why})"),
    ("fib_group", errno.EBUSY): Refusal("E_GROUP", "group {id} is still named by a route"),
    ("fib_group", errno.ENOENT): Refusal("E_GROUP", "group {id} is not set"),
    ("fib_group", errno.ENOSPC): Refusal(
        "E_GROUP", "no room for group {id}: the FIB segment is full"
    ),
    ("fib_group", ANY): Refusal(
        "E_GROUP",
        "group {id} = {record}: kind or number of buckets (a power of two) "
        "out of range, or a bucket names an adjacency that is not set",
    ),
    ("fib_adjacency", errno.EBUSY): Refusal(
        "E_ADJACENCY", "adjacency {id} is still named by a group"
    ),
    ("fib_adjacency", errno.ENOENT): Refusal("E_ADJACENCY", "adjacency {id} is not set"),
    ("fib_adjacency", errno.ENOSPC): Refusal(
        "E_ADJACENCY", "no room for adjacency {id}: the FIB segment is full"
    ),
    ("fib_adjacency", ANY): Refusal(
        "E_ADJACENCY", "adjacency {id} = {record}: id or port out of range"
    ),
    ("fib_port", errno.ENOENT): Refusal("E_PORT", "port {id} is not set"),
    ("fib_port", errno.ENOSPC): Refusal("E_PORT", "no room for port {id}: the FIB segment is full"),
    ("fib_port", ANY): Refusal("E_PORT", "port {id} = {record}: index out of range"),
}

MEMORY = {
    ("segment_create", ANY): Refusal(
        "E_SHM_FULL",
        "segment {name} needs {size} MiB, {where} has {room} MiB left: {why}",
        "lower max-routes, or enlarge /dev/shm (docker: --shm-size)",
        Exit.PRIVILEGE,
    ),
    ("segment_map", errno.ENOMEM): Refusal(
        "E_MAP",
        "segment {name} of {size} MiB cannot be mapped: {why}",
        "more memory, or a higher `ulimit -v`",
        Exit.PRIVILEGE,
    ),
    ("segment_map", ANY): Refusal("E_MAP", "segment {name} of {size} MiB cannot be mapped: {why}"),
    ("segment_open", errno.EACCES): Refusal(
        "E_PERMISSION",
        "segment {name} may not be opened by uid {uid}",
        None,
        Exit.PRIVILEGE,
    ),
    ("segment_open", ANY): Refusal(
        "E_OPEN",
        "{name} cannot be opened as a segment: {why}",
        "something else has that name in /dev/shm: move it away",
    ),
    ("segment_rename", ANY): Refusal(
        "E_OWNER",
        "{name} cannot take the place of what is there: {why}",
        "what stands there belongs to another user: remove it",
    ),
    ("stats_create", ANY): Refusal("E_STATS", "stats object of worker {index}: {why}"),
    ("worker_new", errno.EBADMSG): Refusal("E_STATS", "stats object of worker {index}: {why}"),
    ("worker_new", errno.EINVAL): Refusal("E_STATS", "stats object of worker {index}: {why}"),
    ("worker_new", ANY): Refusal("E_WORKER", "worker {index} cannot be made: {why}"),
    ("worker", ANY): Refusal("E_WORKER", "{what}: {why}"),
}

PACKET_SOCKET = (
    "{name} (ifindex {ifindex}): no packet socket with {slots} slots of {slot_bytes} bytes: {why}"
)
RIGHTS = (
    "run as root, or in a namespace of your own: `unshare -rn ribcage run`; try `ribcage doctor`"
)

SYSTEM = {
    ("packet_socket", errno.EPERM): Refusal(
        "E_PORT",
        PACKET_SOCKET,
        "packet sockets need CAP_NET_RAW: run as root, or inside `unshare -rn`",
        Exit.PRIVILEGE,
    ),
    ("packet_socket", errno.ENOMEM): Refusal(
        "E_PORT", PACKET_SOCKET, "lower rings.slots or rings.slot_bytes"
    ),
    ("packet_socket", errno.ENETDOWN): Refusal(
        "E_PORT", PACKET_SOCKET, "it is tried again when the link comes up"
    ),
    ("packet_socket", ANY): Refusal("E_PORT", PACKET_SOCKET),
    ("packet_socket_here", ANY): Refusal(
        "E_PRIVILEGE",
        "no packet socket in this network namespace: {why}",
        RIGHTS,
        Exit.PRIVILEGE,
    ),
    ("signalfd", ANY): Refusal("E_SIGNALFD", "signalfd: {why}"),
    ("drop_rights", ANY): Refusal("E_RIGHTS", "{what} cannot be given up: {why}"),
    ("log_file", ANY): Refusal("E_LOG_FILE", "{path}: {why}", "another --log-file", Exit.USAGE),
    ("run_dir", ANY): Refusal(
        "E_RUN_DIR",
        "cannot make {path}: {why}",
        "set RIBCAGE_RUN_DIR to a directory you own",
        Exit.PRIVILEGE,
    ),
    ("channel_socket", ANY): Refusal(
        "E_RUN_DIR",
        "cannot listen on {path}: {why}",
        "set RIBCAGE_RUN_DIR to a directory you own, with room in it",
        Exit.PRIVILEGE,
    ),
    ("queue_create", errno.ENOSPC): Refusal(
        "E_QUEUE",
        "no event queue can be made: kernel.msgmni queues exist already",
        "sysctl -w kernel.msgmni=32000; `ipcs -q` lists those there are, ipcrm -q removes one",
        Exit.PRIVILEGE,
    ),
    ("queue_create", ANY): Refusal(
        "E_QUEUE",
        "no event queue can be made: {why}",
        "the kernel needs CONFIG_SYSVIPC=y, and room: `ipcs -l`",
        Exit.PRIVILEGE,
    ),
    ("semaphore_create", ANY): Refusal(
        "E_SHM_FULL",
        "no semaphore can be made in /dev/shm: {why}",
        "mount a tmpfs with room on /dev/shm, mode 1777 (docker: --shm-size)",
        Exit.PRIVILEGE,
    ),
    ("management_socket", ANY): Refusal(
        "E_SOCKET",
        "cannot {what} {path}: {why}",
        "set RIBCAGE_RUN_DIR to a directory you own, or move away what stands there",
        Exit.PRIVILEGE,
    ),
    ("management_group", ANY): Refusal(
        "E_GROUP",
        "cannot give {path} to group {group!r}: {why}",
        "the router's user has to be a member of that group",
        Exit.PRIVILEGE,
    ),
}

REFUSALS = {**RIB, **FIB, **MEMORY, **SYSTEM}
