"""A router under test: a real supervisor process with fake roles, and what is left of it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ribcage.controlplane.supervisor.resources.objects import remove_recorded
from ribcage.controlplane.supervisor.statefile import State
from ribcage.shared.plan import Plan, WorkersPlan
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelClosed, ChannelError
from ribcage.shared.process.names import Names

HERE = Path(__file__).parent
DEADLINE = 15.0
NUMBERS = count()
T = TypeVar("T")


def until(what: str, check: Callable[[], T], deadline: float = DEADLINE) -> T:
    """Waits for a state by name; what `check` answered once it is true."""
    end = time.monotonic() + deadline
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {deadline} s for: {what}"
        time.sleep(0.005)


class Router:
    """One instance in a run directory of its own."""

    until = staticmethod(until)

    def __init__(self, tmp_path: Path, workers: int = 2, env: dict[str, str] | None = None) -> None:
        # Beside the tests' own folders, whose names are long: a Unix socket's path has 107 bytes.
        number = next(NUMBERS)
        self.names = Names(f"t{os.getpid()}-{number}", tmp_path.parents[1] / f"r{number}")
        self.tmp = tmp_path
        self.plan_file = tmp_path / "plan.json"
        self.log_file = tmp_path / "log"
        self.log_file.touch()
        self.env = env or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Channel | None = None
        self.pids: set[int] = set()
        self.write_plan(workers)

    def write_plan(self, workers: int, **more: Any) -> None:
        extra = {k: more.pop(k) for k in list(more) if k == "restart_max"}
        plan = Plan(
            more.pop("name", self.names.instance),
            workers=WorkersPlan(count=workers, **{"restart_max": 50, **extra}),
            config_path=str(self.plan_file),
            **{"orphan_timeout": 5.0, "teach": True, **more},
        )
        self.plan_file.write_text(plan.dumps())

    # ---- life ----

    def launch(self, *flags: str) -> "subprocess.Popen[bytes]":
        env = {**os.environ, "RIBCAGE_RUN_DIR": str(self.names.run_base), **self.env}
        with self.log_file.open("ab") as log:
            command = [sys.executable, str(HERE / "fake_router.py"), self.names.instance]
            return subprocess.Popen(
                [*command, str(self.plan_file), *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
            )

    def start(self) -> "Router":
        already = self.log_text().count(" ready workers=")
        self.process = self.launch()
        until(
            f"router ready:\n{self.log_text()}",
            lambda: self.log_text().count(" ready workers=") > already or self._ended(),
        )
        assert self.process.poll() is None, self.log_text()
        self.note_pids()
        return self

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def crash(self) -> None:
        """kill -9, and the corpse is reaped."""
        assert self.process is not None
        self.note_pids()
        self.process.kill()
        self.process.wait(DEADLINE)

    def note_pids(self) -> None:
        self.pids |= {row["pid"] for row in self.state()["children"]}

    # ---- what can be seen ----

    def log_text(self) -> str:
        return self.log_file.read_text()

    def logged(self, text: str, times: int = 1) -> None:
        until(f"{text!r} x{times} in the log", lambda: self.log_text().count(text) >= times)

    def state(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.names.state_file.read_text())
        return body

    def ps(self) -> list[dict[str, Any]]:
        def ask() -> list[dict[str, Any]] | None:
            try:
                self.tell({"type": "ps-request", "id": 1})
                return self.said("ps")["processes"]  # type: ignore[no-any-return]
            except ChannelClosed:  # that control has just died: ask the next one
                self.disconnect()
                return None

        return until("ps", ask)

    def child(self, role: str, index: int = 0) -> dict[str, Any]:
        rows = [r for r in self.ps() if (r["role"], r["index"]) == (role, index)]
        assert len(rows) == 1
        return rows[0]

    def worker_pids(self) -> list[int]:
        rows = [row for row in self.state()["children"] if row["role"] == "worker"]
        return [row["pid"] for row in sorted(rows, key=lambda row: row["index"])]

    # ---- speaking as control ----

    def connect(self) -> Channel:
        def attempt() -> Channel | None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                sock.connect(str(self.names.control_socket))
            except OSError:
                sock.close()
                return None
            return Channel(sock)

        if self.client is None:
            self.client = until("control's socket", attempt)
        return self.client

    def heard(self) -> list[str]:
        """Types of all messages control has been sent so far."""
        self.disconnect()
        channel = self.connect()
        greeting = until("control's greeting", channel.recv)
        heard: list[str] = greeting.body["heard"]
        return heard

    def disconnect(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    def tell(self, message: dict[str, Any]) -> None:
        """Control says this to the supervisor."""
        self.connect().send({"type": "send", "message": message})

    def said(self, kind: str) -> dict[str, Any]:
        """The next message of this type that the supervisor says to control."""

        def look() -> dict[str, Any] | None:
            message = self.connect().recv()
            if message is None or message.type != "said":
                return None
            body = message.body["message"]
            return {**body, "given": message.body["given"]} if body["type"] == kind else None

        return until(f"supervisor says {kind}", look)

    def open_port(self, index: int, name: str = "eth0", ifindex: int = 5) -> dict[str, Any]:
        self.tell({"type": "port-open", "index": index, "name": name, "ifindex": ifindex,
                   "kind": "port", "slots": 16, "slot_bytes": 2048})  # fmt: skip
        return self.said("port-opened")

    # ---- the end ----

    def leftovers(self) -> list[str]:
        """What of ours is still there."""
        found = [p.name for p in Path("/dev/shm").iterdir() if self.names.instance in p.name]
        if self.names.run_dir.exists():
            found += [p.name for p in self.names.run_dir.rglob("*")]
        return found

    def destroy(self) -> None:
        """Ends every process of this test by its own pid, whatever state it is in."""
        self.disconnect()
        with contextlib.suppress(OSError, ValueError):
            self.note_pids()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            if self.process.poll() is None:
                with contextlib.suppress(OSError, ValueError):
                    self.note_pids()
                self.process.kill()
                self.process.wait(5)
        for pid in self.pids:
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"fake_router" in line or line.startswith(b"ribcage: "):
                    os.kill(pid, signal.SIGKILL)
        state = State.read(self.names.state_file, self.names.instance)
        if state is not None:
            remove_recorded(state)


@pytest.fixture
def make_router(tmp_path: Path) -> Iterator[Callable[..., Router]]:
    made: list[Router] = []

    def make(workers: int = 2, **env: str) -> Router:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Router(folder, workers, env))
        return made[-1]

    yield make
    for router in made:
        print(router.log_text())  # shown when the test failed
        with contextlib.suppress(ChannelError):
            router.destroy()


@pytest.fixture
def router(make_router: Callable[..., Router]) -> Router:
    """A started router with two workers."""
    return make_router().start()
