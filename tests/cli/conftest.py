"""A management server that is no router: a thread, a Unix socket, JSON lines, canned answers."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ribcage.cli.main import main
from ribcage.shared.process.names import Names

Handler = Callable[[dict[str, Any]], Any]


class Refuse(Exception):
    """Raised by a handler: becomes a JSON-RPC error."""

    def __init__(self, code: str, message: str, status: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.body = {
            "code": -32000,
            "message": message,
            "data": {"code": code, "hint": hint, "exit": status},
        }


@dataclass
class FakeRouter:
    """`answers[method]` is a result or a handler; `asked` is what came in."""

    path: Path
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuse: type[Refuse] = Refuse
    raw: bytes | None = None  # sent instead of any answer
    silent: bool = False

    def __post_init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                self.asked.append((request["method"], request["params"]))
                if self.silent:
                    continue
                if self.raw is not None:
                    client.sendall(self.raw)
                    return
                try:
                    answer = self._answer(request)
                except ConnectionAbortedError:  # a handler that hangs up
                    return
                with contextlib.suppress(BrokenPipeError):  # the client gave up
                    client.sendall(json.dumps(answer).encode() + b"\n")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self.answers.get(request["method"], {})
        frame = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            result = answer(request["params"]) if callable(answer) else answer
        except Refuse as refusal:
            return {**frame, "error": refusal.body}
        return {**frame, "result": result}


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRouter]:
    """A fake router r1, found by the command line as a real one would be."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path))
    monkeypatch.delenv("RIBCAGE_INSTANCE", raising=False)
    monkeypatch.delenv("RIBCAGE_SOCKET", raising=False)
    names = Names("r1", tmp_path)
    names.make_run_dir()
    fake = FakeRouter(names.control_socket)
    yield fake
    fake.close()


@dataclass(frozen=True)
class Ran:
    """What one command line did."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout as one JSON document; anything more or less is a failure."""
        return json.loads(self.out)


@pytest.fixture
def ribcage(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `ribcage ...` in this process."""

    def run(*words: object) -> Ran:
        capfd.readouterr()
        status = main([str(word) for word in words])
        captured = capfd.readouterr()
        return Ran(status, captured.out, captured.err)

    return run
