"""The supervisor's own rights: checked that a router's are there, then all others given up.

Use (ribcage/roles.py): `require_rights()`, then `confine(plan)`. Ports are packet sockets
(CAP_NET_RAW), links and addresses are set by control (CAP_NET_ADMIN), both in the network namespace
we are in. Without them every part would start and wait for ports that never open; `ribcage doctor`
looks deeper.
"""

import contextlib
import os
import socket
from pathlib import Path

from ribcage.shared._core import lib

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.rights import (
    CONTROL_CALLS,
    MODES,
    effective_capabilities,
    guard_calls,
    mask_of,
)
from ribcage.shared.refusals import RIGHTS, refused

NEEDED = {"CAP_NET_ADMIN": mask_of("NET_ADMIN"), "CAP_NET_RAW": mask_of("NET_RAW")}
CONTROL = mask_of("NET_ADMIN", "NET_RAW")
"""Control's: netlink and /proc/sys/net, which ask for NET_ADMIN in the network namespace; NET_RAW
for what asks neighbours."""
CONTROL_PROGRAMS = mask_of("NET_ADMIN")
"""What nft gets, which control executes."""
KEPT = {
    "NET_ADMIN": "to hand it to control; larger send buffers than the system's",
    "NET_RAW": "packet sockets and their rings",
    "SETUID": "a user of its own for each process",
    "SETGID": "and a group",
    "SETPCAP": "a child's bounding set and securebits",
    "KILL": "ending processes of other users",
    "CHOWN": "folders, the writer's semaphore: to control",
    "FOWNER": "removing control's segments from /dev/shm, which has the sticky bit",
    "DAC_OVERRIDE": "opening the FIB, which is control's with mode 0600, to hand it on",
    "SYS_PTRACE": "maps and descriptors of processes of other users, for `ps`",
    "SYS_RESOURCE": "an event queue above kernel.msgmnb, a higher limit of open files",
}
"""Of these, those that are there; with the reason for each."""


MOST_FILTERS = 16
"""Each image of the supervisor adds its own list to those it has inherited, since a newer build may
refuse more; a kernel takes some hundreds, and a router may be upgraded, and healed, for ever. Above
this number the lists are ours, one as the other."""


def require_rights() -> None:
    """E_PRIVILEGE (exit 5) that names what is missing."""
    mask = effective_capabilities()
    missing = [name for name, bit in NEEDED.items() if not mask & bit]
    if missing:
        text = f"a router needs {' and '.join(NEEDED)}; this process has no "
        raise RibcageError("E_PRIVILEGE", text + " and no ".join(missing), RIGHTS, Exit.PRIVILEGE)
    try:
        # A user namespace gives the capabilities, but not over a network namespace outside of it.
        # The kernel asks the same for a raw IP socket as for a packet socket, whose close takes a
        # grace period (30 ms and more).
        raw = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        socket.socket(socket.AF_INET, raw, socket.IPPROTO_RAW).close()
    except OSError as error:
        raise refused("packet_socket_here", error.errno) from error


def confine(seccomp: str) -> None:
    """Nothing but KEPT from here on, for all children too, and no program gets more: for good.

    The securebits stay open: children change their user and keep a capability or two.
    """
    confine_capabilities()
    if seccomp in MODES and not lib.sys_seccomp_available(MODES[seccomp]):
        # Now, and not by each worker for ever.
        raise RibcageError(
            "E_RIGHTS",
            f'this kernel has no seccomp filters for process.seccomp = "{seccomp}"',
            'CONFIG_SECCOMP_FILTER=y, or process.seccomp = "off"',
            Exit.PRIVILEGE,
        )
    if seccomp_filters() < MOST_FILTERS:
        guard_calls(CONTROL_CALLS, seccomp)


def confine_capabilities() -> None:
    """The first half of `confine`."""
    # Root's helper programs get what is left by being root's, a plain user's by inheritance.
    _confine(0 if os.geteuid() == 0 else CONTROL)


def rights_outlive_exec() -> None:
    """The next program of this process has all of KEPT that is here, whoever its user is; until
    `confine_capabilities`, each helper would."""
    _confine(mask_of(*KEPT))


def _confine(ambient: int) -> None:
    error = lib.sys_confine(mask_of(*KEPT), ambient, 0)
    if error != 0:
        raise refused("drop_rights", error, what="capabilities")


def seccomp_filters() -> int:
    """How many this process has; 0 where the kernel does not say (before Linux 5.9)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "Seccomp_filters":
                return int(value)
    return 0
