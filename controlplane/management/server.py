"""The management server: who may connect, how many, and an orderly end.

    server = ManagementServer(names.control_socket, plan.management, {
        "route.add": Method(add_route, Role.OPERATOR),     # async def or def (call, params)
        "system.ping": Method(lambda call, params: {})})
    await server.start()
    ...
    await server.stop()

What a method may do and how its errors are answered is in dispatch.py; `system.clients` is the
server's own. Part of the control process; needs a running asyncio loop.
"""

import asyncio
import errno
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ribcage.controlplane.management.clients.admission import Admission
from ribcage.controlplane.management.clients.connection import ClientLimits, Connection
from ribcage.controlplane.management.clients.turns import Turns
from ribcage.controlplane.management.dispatch import Call, Dispatcher, Handler, Method
from ribcage.controlplane.management.listener import make_listener, remove_listener
from ribcage.controlplane.management.peer import Peer, Role, RoleTable, peer_of
from ribcage.controlplane.management.protocol import encode_error
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import ManagementPlan
from ribcage.shared.process.log import log as default_log
from ribcage.shared.process.seldom import Seldom

ACCEPTS = 32  # connections taken per turn of the loop
RETRY = 0.1  # seconds before accepting again when the system has no memory for it
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
__all__ = ["Call", "Handler", "ManagementServer", "Method", "Role"]


class ManagementServer:
    """See the module's text. `counters` counts by name what happened since the start."""

    def __init__(
        self,
        path: Path,
        plan: ManagementPlan,
        methods: Mapping[str, Method],
        *,
        log: Callable[..., None] = default_log,
        peer_of: Callable[[socket.socket, RoleTable], Peer] = peer_of,
        stall_timeout: float = 5.0,
        max_backlog: int = 8 << 20,
    ) -> None:
        self.path = path
        self.plan = plan
        self.counters: Counter[str] = Counter()
        self._log = log
        self._seldom = Seldom(log)
        self._turns = Turns(plan.max_rate, plan.max_cpu / 100)
        self._dispatcher = Dispatcher(
            {"system.clients": Method(self._clients), **methods},
            self.counters,
            log,
            max_reply=max_backlog,
            turns=self._turns,
        )
        self._peer_of = peer_of
        self._stall_timeout, self._max_backlog = stall_timeout, max_backlog
        self.limit(plan)
        self._connections: dict[int, Connection] = {}
        self._admission = Admission(self._connections, self._turns, self.counters)
        self._listener: socket.socket | None = None
        self._reserve = -1
        self._number = 0

    def limit(self, plan: ManagementPlan) -> None:
        """Other limits for the clients that come from now on. The socket's mode and group stay."""
        self.plan = plan
        self._roles = RoleTable.of(plan)
        self._turns.limit(plan.max_rate, plan.max_cpu / 100)
        self._limits = ClientLimits(
            plan.max_line,
            plan.request_timeout,
            plan.idle_timeout,
            self._stall_timeout,
            self._max_backlog,
        )

    # -- life

    async def start(self) -> None:
        """Listens; errors as make_listener."""
        self._listener = make_listener(self.path, self.plan.mode, self.plan.group)
        self._listen()

    def relisten(self) -> None:
        """The socket's name went with the folder it was in: another one there; clients stay."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        self._listener = make_listener(self.path, self.plan.mode, self.plan.group)
        self._listen()

    async def stop(self, grace: float = 2.0) -> None:
        """No new clients; requests in progress get `grace` seconds; everything is closed."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        remove_listener(self.path, self._listener)
        self._listener = None
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
        for connection in list(self._connections.values()):
            connection.finish()
        deadline = time.monotonic() + grace
        while self._connections or self._dispatcher.left:
            tasks = {*(c.task for c in self._connections.values()), *self._dispatcher.left}
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await asyncio.wait(tasks, timeout=left)
        for connection in list(self._connections.values()):
            connection.drop("the router stops")
        for task in list(self._dispatcher.left):
            task.cancel()
        await asyncio.gather(*self._dispatcher.left, return_exceptions=True)

    # -- accepting

    def _listen(self) -> None:
        if self._listener is not None:
            self._take_reserve()
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _take_reserve(self) -> None:
        if self._reserve < 0:
            with suppress(OSError):
                self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            if self._listener is None:
                return
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.counters["accept_errors"] += 1
                if error.errno in NO_DESCRIPTOR:
                    self._shed()
                    return
                if error.errno in (errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                    return
                continue  # ECONNABORTED, EPROTO: that client's loss
            sock.setblocking(False)
            self._admit(sock)

    def _shed(self) -> None:
        """No descriptor left: give up the reserve for one client, so that it hears why and the
        loop does not spin on a listener that stays readable."""
        assert self._listener is not None
        self._seldom.say("error", "management.no_descriptors", clients=len(self._connections))
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
        with suppress(OSError):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self._turn_away(
                sock,
                RibcageError(
                    "E_DESCRIPTORS",
                    "the router has no descriptor left",
                    "try again, or see system.clients",
                    Exit.TIMEOUT,
                ),
            )
        self._take_reserve()
        if self._reserve < 0:
            self._pause()

    def _pause(self) -> None:
        if self._listener is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._listener)
            loop.call_later(RETRY, self._listen)

    def _admit(self, sock: socket.socket) -> None:
        try:
            peer = self._peer_of(sock, self._roles)
        except OSError:
            self.counters["accept_errors"] += 1
            sock.close()
            return
        refused = self._admission.refuses(peer, self.plan, len(self._dispatcher.left))
        if refused is not None:
            self._seldom.say(
                "warning",
                "management.too_many",
                pid=peer.pid,
                uid=peer.uid,
                why=refused.message,
            )
            self._turn_away(sock, refused)
            return
        self._number += 1
        self.counters["accepted"] += 1
        self._turns.join(peer)
        self._connections[self._number] = Connection(
            sock, peer, self._number, self._limits, self._dispatcher.answer, self._gone
        )
        self._log("debug", "management.client", client=self._number, pid=peer.pid, uid=peer.uid)

    def _turn_away(self, sock: socket.socket, error: RibcageError) -> None:
        self.counters["turned_away"] += 1
        with sock, suppress(OSError):
            sock.send(encode_error(None, error), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def _gone(self, connection: Connection, reason: str) -> None:
        self._connections.pop(connection.number, None)
        self._turns.leave(connection.peer)
        self.counters["gone"] += 1
        self._log(
            "debug",
            "management.gone",
            client=connection.number,
            pid=connection.peer.pid,
            reason=reason,
            requests=connection.requests,
        )
        for close in connection.closers:
            try:
                close()
            except Exception:
                self._log("error", "management.bug", trace=traceback.format_exc())

    def _clients(self, call: Call, params: dict[str, Any]) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        return {
            "clients": [
                {
                    "id": c.number,
                    "pid": c.peer.pid,
                    "uid": c.peer.uid,
                    "gid": c.peer.gid,
                    "role": c.peer.role.name.lower(),
                    "seconds": round(now - c.opened, 3),
                    "bytes_in": c.bytes_in,
                    "bytes_out": c.bytes_out,
                    "requests": c.requests,
                    "backlog": c.backlog,
                    "you": c.number == call.client,
                }
                for c in self._connections.values()
            ],
            "max_clients": self.plan.max_clients,
            "counters": dict(self.counters),
        }
