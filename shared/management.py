"""The client of the management socket, blocking, standard library only: for the command line,
for scripts and for tests. The wire is described in controlplane/management/protocol.py.

    with ManagementClient(names.control_socket) as client:
        client.call("system.ping")
        client.call("route.get", {"dst": "10.0.0.1"}, timeout=2.0)

call() returns the result or raises RibcageError: the router's own (its code, hint and exit
status), E_NO_DAEMON (exit 4) when nobody answers, E_TIMEOUT (exit 6) when the answer does not come
in time, E_PRIVILEGE (exit 5) when the socket may not be opened, E_PROTOCOL (exit 7) when what
comes is no answer. After E_TIMEOUT and E_PROTOCOL the connection is closed; the next call makes
a new one. One thread.
"""

import json
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ribcage.shared.errors import Exit, RibcageError

TIMEOUT = 5.0
MAX_REPLY = 64 << 20  # bytes; a router never sends a tenth of it
READ = 1 << 18


class ManagementClient:
    """See the module's text. `timeout` (seconds) is for one call, connecting included."""

    def __init__(self, path: Path | str, timeout: float = TIMEOUT) -> None:
        self.path = Path(path)
        self.timeout = timeout
        self.sent = False  # the last request may have reached the router
        self._sock: socket.socket | None = None
        self._rest = b""
        self._last = 0

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Any:
        """One request, one reply."""
        limit = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        self._last += 1
        request = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params or {}}
        line = json.dumps(request, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            body = self._exchange(line, deadline)
        except TimeoutError:
            self.close()
            raise RibcageError(
                "E_TIMEOUT",
                f"no answer to {method} from {self.path} in {limit:g} s",
                "the router may be stopped or busy; --timeout waits longer",
                Exit.TIMEOUT,
            ) from None
        except OSError as error:
            self.close()
            raise self._gone(error.strerror or str(error)) from None
        return self._result(body)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside

    def _exchange(self, line: bytes, deadline: float) -> Any:
        self.sent = False
        if self._sock is None:
            self._sock = self._connect(deadline)
        try:
            self._sock.settimeout(_left(deadline))
            self.sent = True
            self._sock.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it closed on us, and may have said why: read that
        return self._decode(self._read_line(self._sock, deadline))

    def _connect(self, deadline: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # A non-blocking connect to a full backlog fails at once (EAGAIN); a blocking one
            # waits, and SO_SNDTIMEO bounds that (SO_RCVTIMEO would not).
            left = _left(deadline)
            timeval = struct.pack("@ll", int(left), max(1, int(left % 1 * 1e6)))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
            sock.setblocking(True)
            sock.connect(str(self.path))
        except BlockingIOError:
            sock.close()
            raise TimeoutError from None
        except PermissionError:
            sock.close()
            raise RibcageError(
                "E_PRIVILEGE",
                f"not allowed to open {self.path}",
                "ask as root, as the router's user, or as a member of management.group",
                Exit.PRIVILEGE,
            ) from None
        except OSError as error:
            sock.close()
            raise self._gone(error.strerror or str(error)) from None
        return sock

    def _read_line(self, sock: socket.socket, deadline: float) -> bytes:
        parts, size = [self._rest], len(self._rest)
        while b"\n" not in parts[-1]:
            sock.settimeout(_left(deadline))
            data = sock.recv(READ)
            if not data:
                raise ConnectionResetError(0, "the router closed the connection")
            parts.append(data)
            size += len(data)
            if size > MAX_REPLY:
                raise self._nonsense(f"a line of more than {MAX_REPLY} bytes")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    def _decode(self, line: bytes) -> dict[str, Any]:
        try:
            body = json.loads(line)
        except (ValueError, RecursionError):
            raise self._nonsense(repr(line[:80])) from None
        if not isinstance(body, dict) or not ("result" in body or "error" in body):
            raise self._nonsense(repr(line[:80]))
        # id null: about the connection as a whole, like "too many clients".
        if body.get("id") != self._last and not (body.get("id") is None and "error" in body):
            raise self._nonsense(f"the answer to request {str(body.get('id'))[:20]}")
        return body

    def _result(self, body: dict[str, Any]) -> Any:
        if "error" not in body:
            return body["result"]
        error = body["error"]
        data = error.get("data") if isinstance(error, dict) else None
        if not isinstance(data, dict):
            raise self._nonsense(f"an error of another form: {str(error)[:80]}")
        status = data.get("exit")
        if not isinstance(status, int) or not 0 < status < 256:
            status = Exit.INTERNAL
        raise RibcageError.from_json({**data, "message": error.get("message")}, status)

    def _gone(self, why: str) -> RibcageError:
        return RibcageError(
            "E_NO_DAEMON",
            f"no router answers at {self.path}: {why}",
            "start one with `ribcage run`, or name another with --instance",
            Exit.NO_DAEMON,
        )

    def _nonsense(self, what: str) -> RibcageError:
        self.close()
        return RibcageError(
            "E_PROTOCOL",
            f"expected a JSON-RPC reply from {self.path}, got {what}",
            "is it a router of this version?",
        )


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
