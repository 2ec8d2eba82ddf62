"""The management server: who may connect, which method runs, what its reply is.

    server = ManagementServer(names.control_socket, plan.management, {
        "route.add": Method(add_route, Role.OPERATOR),     # async def or def (call, params)
        "system.ping": Method(lambda call, params: {})})
    await server.start()
    ...
    await server.stop()

A method gets a Call (who asks) and its params, and returns JSON values or raises RibcageError
(reply: error with its code, hint and exit status). Anything else it raises is a bug: the reply is
an internal error with a number that the log line carries too, and the server goes on. Methods of
several clients run side by side; one client's requests run in order. A method whose client goes
away is not interrupted half-way: its reply is thrown away.

`system.clients` is the server's own. Part of the control process; needs a running asyncio loop.
"""

import asyncio
import errno
import inspect
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ribcage.controlplane.management.connection import Connection, Limits
from ribcage.controlplane.management.listener import make_listener, remove_listener
from ribcage.controlplane.management.peer import Peer, Role, peer_of
from ribcage.controlplane.management.protocol import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    ProtocolError,
    Request,
    encode_error,
    encode_protocol_error,
    encode_result,
    parse_request,
)
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.log import log as default_log
from ribcage.shared.plan import ManagementPlan

ACCEPTS = 32  # connections taken per turn of the loop
RETRY = 0.1  # seconds before accepting again when the system has no memory for it
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks. on_close: called when that client goes, for what it left half done."""

    peer: Peer
    client: int
    on_close: Callable[[Callable[[], None]], None]


Handler = Callable[[Call, dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Method:
    handler: Handler
    role: Role = Role.VIEWER


class ManagementServer:
    """See the module's text. `counters` counts by name what happened since the start."""

    def __init__(
        self,
        path: Path,
        plan: ManagementPlan,
        methods: Mapping[str, Method],
        *,
        log: Callable[..., None] = default_log,
        peer_of: Callable[[socket.socket], Peer] = peer_of,
        stall_timeout: float = 5.0,
        max_backlog: int = 8 << 20,
    ) -> None:
        self.path = path
        self.plan = plan
        self.methods = {"system.clients": Method(self._clients), **methods}
        self.counters: Counter[str] = Counter()
        self._log = log
        self._peer_of = peer_of
        self._limits = Limits(
            plan.max_line, plan.request_timeout, plan.idle_timeout, stall_timeout, max_backlog
        )
        self._connections: dict[int, Connection] = {}
        self._left: set[asyncio.Future[Any]] = set()  # methods whose client is gone
        self._listener: socket.socket | None = None
        self._reserve = -1
        self._number = 0

    # -- life

    async def start(self) -> None:
        """Listens; errors as make_listener."""
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
        while self._connections or self._left:
            tasks = {*(c.task for c in self._connections.values()), *self._left}
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await asyncio.wait(tasks, timeout=left)
        for connection in list(self._connections.values()):
            connection.drop("the router stops")
        for task in list(self._left):
            task.cancel()
        await asyncio.gather(*self._left, return_exceptions=True)

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
        self._log("error", "management.no_descriptors", clients=len(self._connections))
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
        with suppress(OSError):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self._turn_away(sock, "E_DESCRIPTORS", "the router has no descriptor left")
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
            peer = self._peer_of(sock)
        except OSError:
            self.counters["accept_errors"] += 1
            sock.close()
            return
        # One place is kept for those who run the router, however many others hang on.
        limit = self.plan.max_clients - (0 if peer.role is Role.ADMIN else 1)
        if len(self._connections) + len(self._left) >= limit:
            self._log("warning", "management.too_many", pid=peer.pid, uid=peer.uid)
            self._turn_away(
                sock, "E_TOO_MANY_CLIENTS", f"too many clients ({limit} are served at once)"
            )
            return
        self._number += 1
        self.counters["accepted"] += 1
        self._connections[self._number] = Connection(
            sock, peer, self._number, self._limits, self._reply, self._gone
        )
        self._log("debug", "management.client", client=self._number, pid=peer.pid, uid=peer.uid)

    def _turn_away(self, sock: socket.socket, code: str, message: str) -> None:
        self.counters["turned_away"] += 1
        error = RibcageError(code, message, "try again, or see system.clients", Exit.TIMEOUT)
        with sock, suppress(OSError):
            sock.send(encode_error(None, error), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def _gone(self, connection: Connection, reason: str) -> None:
        self._connections.pop(connection.number, None)
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

    # -- answering

    async def _reply(self, line: bytes, connection: Connection) -> tuple[bytes, bool]:
        started = time.monotonic()
        self.counters["requests"] += 1
        try:
            request = parse_request(line)
        except ProtocolError as error:
            self.counters["errors"] += 1
            return encode_protocol_error(error), error.framing
        reply, outcome = await self._perform(request, connection)
        self.counters["errors"] += outcome != "ok"
        if len(reply) > self._limits.max_backlog:
            large = RibcageError("E_TOO_LARGE", f"the reply has {len(reply)} bytes", "ask for less")
            reply = encode_error(request.id, large)
        self._log(
            "debug",
            "management.request",
            client=connection.number,
            pid=connection.peer.pid,
            method=request.method,
            outcome=outcome,
            ms=round((time.monotonic() - started) * 1e3, 3),
        )
        return reply, False

    async def _perform(self, request: Request, connection: Connection) -> tuple[bytes, str]:
        """The reply, and "ok" or the error's code for counters and log."""
        method = self.methods.get(request.method)
        peer = connection.peer
        if method is None:
            missing = RibcageError(
                "E_METHOD", f"no method {request.method[:64]!r}", None, Exit.USAGE
            )
            return encode_error(request.id, missing, METHOD_NOT_FOUND), missing.code
        if peer.role < method.role:
            self._log(
                "warning",
                "management.refused",
                method=request.method,
                pid=peer.pid,
                uid=peer.uid,
                role=peer.role.name.lower(),
            )
            refused = RibcageError(
                "E_NOT_ALLOWED",
                f"{request.method} needs role {method.role.name.lower()}, uid {peer.uid} has "
                f"{peer.role.name.lower()}",
                "ask as root or as the user the router runs as",
                Exit.PRIVILEGE,
            )
            return encode_error(request.id, refused), refused.code
        try:
            call = Call(peer, connection.number, connection.closers.append)
            result = method.handler(call, request.params)
            if inspect.isawaitable(result):
                result = await self._sheltered(result)
            return encode_result(request.id, result), "ok"
        except RibcageError as error:
            return encode_error(request.id, error), error.code
        except Exception:
            return self._bug(request), "E_INTERNAL"

    async def _sheltered(self, awaitable: Awaitable[Any]) -> Any:
        """Awaits a method so that it outlives the client: work half done is worse than done."""
        task = asyncio.ensure_future(awaitable)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                self._left.add(task)
                task.add_done_callback(self._left_done)
            raise

    def _left_done(self, task: "asyncio.Future[Any]") -> None:
        self._left.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._log("warning", "management.unheard", error=repr(error)[:200])

    def _bug(self, request: Request) -> bytes:
        self.counters["bugs"] += 1
        number = f"{os.getpid()}-{self.counters['bugs']}"
        self._log(
            "error",
            "management.bug",
            id=number,
            method=request.method,
            trace=traceback.format_exc(),
        )
        error = RibcageError(
            "E_INTERNAL", "internal error in the router", f"its log has it as id={number}"
        )
        return encode_error(request.id, error, INTERNAL_ERROR)

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
