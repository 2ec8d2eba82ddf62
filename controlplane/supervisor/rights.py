"""Checks once, before anything is made, that the rights a router needs are there.

Use (ribcage/roles.py): `require_rights()`. Ports are packet sockets (CAP_NET_RAW), links and
addresses are set by control (CAP_NET_ADMIN), both in the network namespace we are in. Without
them every part would start and wait for ports that never open; `ribcage doctor` looks deeper.
"""

import re
import socket
from pathlib import Path

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.refusals import RIGHTS, refused

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}  # linux/capability.h


def effective_capabilities() -> int:
    """The mask of this process, 0 when /proc does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.M)
    return int(found[1], 16) if found else 0


def require_rights() -> None:
    """E_PRIVILEGE (exit 5) that names what is missing."""
    mask = effective_capabilities()
    missing = [name for name, bit in CAPABILITIES.items() if not mask >> bit & 1]
    if missing:
        text = f"a router needs {' and '.join(CAPABILITIES)}; this process has no "
        raise RibcageError("E_PRIVILEGE", text + " and no ".join(missing), RIGHTS, Exit.PRIVILEGE)
    try:
        # A user namespace gives the capabilities, but not over a network namespace outside of it.
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0).close()
    except OSError as error:
        raise refused("packet_socket_here", error.errno) from error
