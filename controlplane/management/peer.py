"""Asks the kernel who is at the other end of a Unix socket, and says what that user may do.

    roles = RoleTable.of(plan.management)
    peer = peer_of(sock, roles)        # Peer(pid, uid, gid, role)

root and the user that control runs as are admins, whoever else is let in by the socket's mode and
group may look, and the config names those who may do more: users, or "@group" for all its members.
"""

import array
import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from ribcage.shared.plan import ManagementPlan

CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
SO_PEERGROUPS = 59  # supplementary groups as of connect(); not in Python's socket module
GROUP_BYTES = 1024  # 256 groups, the most that getsockopt() of Python takes


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


@dataclass(frozen=True, slots=True)
class RoleTable:
    """Who is more than a viewer, by number: names may change hands while a router runs, and are
    looked up once a plan."""

    operator_users: frozenset[int] = frozenset()
    operator_groups: frozenset[int] = frozenset()
    admin_users: frozenset[int] = frozenset()
    admin_groups: frozenset[int] = frozenset()

    @classmethod
    def of(cls, plan: ManagementPlan) -> "RoleTable":
        """A name that is not known here (any more) is nobody."""
        operators, admins = plan.operators, plan.admins
        return cls(_users(operators), _groups(operators), _users(admins), _groups(admins))

    def role(self, uid: int, groups: Iterable[int]) -> Role:
        """The highest that the user or one of its groups has."""
        member = frozenset(groups)
        if uid in (0, os.geteuid()) or uid in self.admin_users or member & self.admin_groups:
            return Role.ADMIN
        if uid in self.operator_users or member & self.operator_groups:
            return Role.OPERATOR
        return Role.VIEWER


def peer_of(connection: socket.socket, roles: RoleTable | None = None) -> Peer:
    """The process that called connect(); OSError when the kernel will not say."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, gid = CREDENTIALS.unpack(raw)
    return Peer(pid, uid, gid, (roles or RoleTable()).role(uid, [gid, *_peer_groups(connection)]))


def _peer_groups(connection: socket.socket) -> list[int]:
    """None, where the kernel does not tell or they are too many: fewer rights, never more."""
    numbers = array.array("I")
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUP_BYTES)
    except OSError:
        return []
    numbers.frombytes(raw)
    return numbers.tolist()


def _users(names: Iterable[str]) -> frozenset[int]:
    return _numbers((n for n in names if not n.startswith("@")), lambda n: pwd.getpwnam(n).pw_uid)


def _groups(names: Iterable[str]) -> frozenset[int]:
    chosen = (name[1:] for name in names if name.startswith("@"))
    return _numbers(chosen, lambda name: grp.getgrnam(name).gr_gid)


def _numbers(names: Iterable[str], number: Callable[[str], int]) -> frozenset[int]:
    found = set()
    for name in names:
        if name.isascii() and name.isdigit():
            found.add(int(name))
            continue
        try:
            found.add(number(name))
        except (KeyError, ValueError, OSError):
            continue
    return frozenset(found)
