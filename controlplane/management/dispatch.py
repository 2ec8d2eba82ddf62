"""Answers a line: finds the method, checks that this client may call it, makes the reply.

A method gets a Call (who asks) and its params, and returns JSON values or raises RibcageError
(reply: error with its code, hint and exit status). Anything else it raises is a bug: the reply is
an internal error with a number that the log line carries too, and the server goes on. Methods of
several clients run side by side; one client's requests run in order, and each waits for its turn
(clients/turns.py). A method that changes something is not interrupted when its client goes away:
its reply is thrown away. One that only reads ends with its client; those that read for long wait
for each other.

Used by server.py only; needs a running asyncio loop.
"""

import asyncio
import inspect
import os
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.management.clients.connection import Connection
from ribcage.controlplane.management.clients.turns import Turns
from ribcage.controlplane.management.peer import Peer, Role
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
from ribcage.shared.process.seldom import Seldom

LONG_READS = 2  # at once: a third would make all of them slower and the loop busier


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


class Dispatcher:
    """`left`: methods still running whose client is gone. `counters` is the server's."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        counters: "Counter[str]",
        log: Callable[..., None],
        *,
        max_reply: int,
        turns: Turns,
    ) -> None:
        self.left: set[asyncio.Future[Any]] = set()
        self.counters = counters
        self._methods = methods
        self._log = log
        self._seldom = Seldom(log)
        self._max_reply = max_reply
        self._turns = turns
        self._long_reads = asyncio.Semaphore(LONG_READS)

    async def answer(self, line: bytes, connection: Connection) -> tuple[bytes, bool]:
        """The reply to one line, and whether the connection ends after it."""
        started = time.monotonic()
        self.counters["requests"] += 1
        try:
            request = parse_request(line)
        except ProtocolError as error:
            self.counters["errors"] += 1
            return encode_protocol_error(error), error.framing
        reply, outcome = await self._perform(request, connection)
        self.counters["errors"] += outcome != "ok"
        if len(reply) > self._max_reply:
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
        method = self._methods.get(request.method)
        peer = connection.peer
        if method is None:
            missing = RibcageError(
                "E_METHOD", f"no method {request.method[:64]!r}", None, Exit.USAGE
            )
            return encode_error(request.id, missing, METHOD_NOT_FOUND), missing.code
        if peer.role < method.role:
            self._seldom.say(
                "warning",
                "management.refused",
                f"{peer.uid} {request.method}",
                method=request.method,
                pid=peer.pid,
                uid=peer.uid,
                role=peer.role.name.lower(),
            )
            refused = RibcageError(
                "E_NOT_ALLOWED",
                f"{request.method} needs role {method.role.name.lower()}, uid {peer.uid} has "
                f"{peer.role.name.lower()}",
                f"ask as root, or be named in management.{method.role.name.lower()}s of the config",
                Exit.PRIVILEGE,
            )
            return encode_error(request.id, refused), refused.code
        try:
            call = Call(peer, connection.number, connection.closers.append)
            await self._turns.turn(peer)
            begun = time.monotonic()
            try:
                result = method.handler(call, request.params)
                if not inspect.isawaitable(result):
                    return encode_result(request.id, result), "ok"
            finally:
                self._turns.done(peer, time.monotonic() - begun)
            if method.role is Role.VIEWER:
                result = await self._read(result)
            else:
                result = await self._shielded(result)
            return encode_result(request.id, result), "ok"
        except RibcageError as error:
            return encode_error(request.id, error), error.code
        except Exception:
            return self._bug(request), "E_INTERNAL"

    async def _read(self, awaitable: Awaitable[Any]) -> Any:
        """Awaits a method that changes nothing, and ends it with its client."""
        task = asyncio.ensure_future(awaitable)
        try:
            async with self._long_reads:
                return await task
        finally:
            task.cancel()

    async def _shielded(self, awaitable: Awaitable[Any]) -> Any:
        """Awaits a method so that it outlives the client: work half done is worse than done."""
        task = asyncio.ensure_future(awaitable)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                self.left.add(task)
                task.add_done_callback(self._left_done)
            raise

    def _left_done(self, task: "asyncio.Future[Any]") -> None:
        self.left.discard(task)
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
