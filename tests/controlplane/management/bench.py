"""A management server in a thread of its own, for tests that talk to it over real sockets."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ribcage.controlplane.management.peer import Peer, Role, RoleTable
from ribcage.controlplane.management.server import Call, ManagementServer, Method
from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import ManagementPlan

DEADLINE = 20.0  # generous: the machine is shared


class Bench:
    """`with Bench(path, max_clients=3) as bench:`; bench.gate opens the method `wait`.

    `roles` gives the roles of the next peers, in order; without it everybody is admin. `peers`
    gives whole peers, before that."""

    def __init__(
        self, path: Path, roles: list[Role] | None = None, backlog: int = 8 << 20, **plan: Any
    ) -> None:
        self.path = path
        self.plan = ManagementPlan(**plan)
        self.roles = roles if roles is not None else []
        self.peers: list[Peer] = []
        self.answered: list[str] = []
        self.backlog = backlog
        self.stall = 0.4
        self.logged: list[tuple[str, str, dict[str, object]]] = []
        self.gate = threading.Event()
        self.done: list[str] = []
        self.closed: list[int] = []

    def __enter__(self) -> "Bench":
        ready: list[BaseException | None] = []
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready, started), daemon=True)
        self.thread.start()
        assert started.wait(DEADLINE)
        if ready[0] is not None:
            self.thread.join(DEADLINE)
            raise ready[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.loop.call_soon_threadsafe(self.finish.set)
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()

    @contextmanager
    def held(self) -> Iterator[None]:
        """The server's loop stands still inside: it meets all that clients did there at once."""
        standing, go = threading.Event(), threading.Event()

        def stand() -> None:
            standing.set()
            go.wait(DEADLINE)

        self.loop.call_soon_threadsafe(stand)
        assert standing.wait(DEADLINE)
        try:
            yield
        finally:
            go.set()

    def _run(self, ready: list[BaseException | None], started: threading.Event) -> None:
        async def main() -> None:
            self.loop, self.finish = asyncio.get_running_loop(), asyncio.Event()
            self.server = ManagementServer(
                self.path,
                self.plan,
                self.methods(),
                log=lambda level, event, **fields: self.logged.append((level, event, fields)),
                peer_of=self._peer,
                stall_timeout=self.stall,
                max_backlog=self.backlog,
            )
            try:
                await self.server.start()
                ready.append(None)
            except BaseException as error:
                ready.append(error)
                return
            finally:
                started.set()
            await self.finish.wait()
            await self.server.stop(grace=1.0)

        asyncio.run(main())

    def _peer(self, sock: socket.socket, given: RoleTable) -> Peer:
        if self.peers:
            return self.peers.pop(0)
        role = self.roles.pop(0) if self.roles else Role.ADMIN
        return Peer(1, 0 if role is Role.ADMIN else 1000, 0, role)

    def methods(self) -> Mapping[str, Method]:
        async def wait(call: Call, params: dict[str, Any]) -> str:
            call.on_close(lambda: self.closed.append(call.client))
            await asyncio.get_running_loop().run_in_executor(None, self.gate.wait, DEADLINE)
            self.done.append("wait")
            return "waited"

        async def read(call: Call, params: dict[str, Any]) -> str:
            self.answered.append("begun")
            try:
                await asyncio.sleep(DEADLINE)
            finally:
                self.answered.append("ended")
            return "read"

        def dear(call: Call, params: dict[str, Any]) -> str:
            end = time.monotonic() + 0.002
            while time.monotonic() < end:
                pass
            self.answered.append("dear")
            return "dear"

        def cheap(call: Call, params: dict[str, Any]) -> str:
            self.answered.append("cheap")
            return "cheap"

        def fail(call: Call, params: dict[str, Any]) -> None:
            raise RibcageError("E_NO_ROUTE", "no route", "add one", 1)

        return {
            "echo": Method(lambda call, params: params),
            "big": Method(lambda call, params: "x" * params["bytes"]),
            "wait": Method(wait, Role.OPERATOR),
            "read": Method(read),
            "dear": Method(dear),
            "cheap": Method(cheap),
            "fail": Method(fail),
            "bug": Method(lambda call, params: 1 / 0),
            "unjson": Method(lambda call, params: object()),
            "change": Method(lambda call, params: "changed", Role.OPERATOR),
            "stop": Method(lambda call, params: "stopping", Role.ADMIN),
        }


def dial(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE)
    sock.connect(str(path))
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Until the server closes; a reset after the last byte counts as that."""
    parts = []
    while True:
        try:
            data = sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            return b"".join(parts)
        parts.append(data)


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        threading.Event().wait(0.005)


def line(id: int, method: str, **params: Any) -> bytes:
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return json.dumps(body).encode() + b"\n"


def replies(raw: bytes) -> list[dict[str, Any]]:
    assert raw == b"" or raw.endswith(b"\n")
    return [json.loads(one) for one in raw.splitlines()]
