"""Asks the kernel who is at the other end of a Unix socket, and says what that user may do."""

import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class Role(IntEnum):
    """Each method names the least role it needs."""

    VIEWER = 1  # may read: everybody whom the socket's mode and group let in
    OPERATOR = 2  # may change routes and neighbours
    ADMIN = 3  # may stop and reload the router


@dataclass(frozen=True, slots=True)
class Peer:
    """Credentials as of connect(). pid 0: the process is outside our pid namespace."""

    pid: int
    uid: int
    gid: int
    role: Role


def role_of(uid: int) -> Role:
    """root and the daemon's own user may do everything, others in the socket's group read."""
    return Role.ADMIN if uid in (0, os.geteuid()) else Role.VIEWER


def peer_of(connection: socket.socket) -> Peer:
    """The process that called connect(); OSError when the kernel will not say."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, gid = CREDENTIALS.unpack(raw)
    return Peer(pid, uid, gid, role_of(uid))
