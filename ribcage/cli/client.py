"""The command line's side of the management socket: one JSON object a line (JSON-RPC 2.0).

    with connect(path, timeout=5.0) as client:
        answer = client.call("route.get", {"dst": "198.51.100.7"})

Failures are RibcageError with the exit status the user sees: 4 nobody answers there, 5 not
allowed to ask, 6 no answer in time, 7 an answer that makes no sense; what the router itself
refuses keeps the code, hint and status it sends.
"""

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ribcage.shared.errors import Exit, RibcageError

MAX_ANSWER = 64 << 20  # bytes of one answer


class Client:
    """One connection; calls go one after the other."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path, self._timeout = path, timeout
        self._buffer = bytearray()
        self._next = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise _cannot_connect(path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """The result of method; RibcageError for every way of not getting one."""
        self._next += 1
        request = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params or {}}
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        try:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._socket.sendall(json.dumps(request, separators=(",", ":")).encode() + b"\n")
            while True:
                answer = self._answer(deadline)
                # A line with another id belongs to a call that was given up.
                if answer.get("id") in (self._next, None):
                    return _result(answer)
        except TimeoutError:
            wait = self._timeout if timeout is None else timeout
            raise RibcageError(
                "E_TIMEOUT",
                f"no answer to {method} from {self._path} within {wait:g} s",
                "the router may be stopped or busy; --timeout S waits longer",
                Exit.TIMEOUT,
            ) from None
        except OSError as error:
            raise _cannot_connect(self._path, error) from None

    def _answer(self, deadline: float) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n")) < 0:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            received = self._socket.recv(1 << 18)
            if not received:
                raise ConnectionResetError("the router closed the connection")
            self._buffer += received
            if len(self._buffer) > MAX_ANSWER:
                raise _nonsense(f"an answer of more than {MAX_ANSWER >> 20} MiB")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise _nonsense(f"an answer that is not JSON: {line[:60]!r}") from None
        if not isinstance(answer, dict):
            raise _nonsense(f"an answer that is no object: {line[:60]!r}")
        return answer


def connect(path: Path, timeout: float) -> Client:
    return Client(path, timeout)


def _result(answer: Mapping[str, Any]) -> dict[str, Any]:
    error = answer.get("error")
    if isinstance(error, dict):
        raw = error.get("data")
        data: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
        status = data.get("exit")
        known = isinstance(status, int) and status in set(Exit) and status != Exit.OK
        hint = data.get("hint")
        raise RibcageError(
            str(data.get("code", "E_REFUSED")),
            str(error.get("message", "refused")),
            None if hint is None else str(hint),
            status if known and isinstance(status, int) else Exit.INTERNAL,
        )
    result = answer.get("result")
    if not isinstance(result, dict):
        raise _nonsense("an answer with neither result nor error")
    return result


def _nonsense(what: str) -> RibcageError:
    return RibcageError(
        "E_PROTOCOL",
        f"the router sent {what}",
        "are command and router of one build? compare: ribcage version",
        Exit.INTERNAL,
    )


def _cannot_connect(path: Path, error: OSError) -> RibcageError:
    if isinstance(error, PermissionError):
        return RibcageError(
            "E_PERMISSION",
            f"not allowed to use {path}",
            "ask for membership of the group in [management], or use the router's own user",
            Exit.PRIVILEGE,
        )
    if isinstance(error, BlockingIOError):
        reason = "its queue of new clients is full"
    else:
        reason = error.strerror or str(error)
    others = _others(path)
    hint = f"running here: {', '.join(others)} (choose with -i)" if others else ""
    return RibcageError(
        "E_NO_DAEMON",
        f"no router answers at {path} ({reason})",
        hint or "start one: ribcage run -c ribcage.toml",
        Exit.NO_DAEMON,
    )


def _others(path: Path) -> list[str]:
    """Other instances beside the one asked for."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        for entry in sorted(path.parent.parent.glob(f"*/{path.name}"))[:8]:
            if entry != path:
                found.append(entry.parent.name)
    return found
