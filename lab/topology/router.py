"""One router in a lab: start it in a node, talk to it, kill parts of it, wait for named states.

    router = Router(lab.node("r1"), config_text, instance="demo", folder=tmp)
    router.start()                       # returns when every process says ready
    router.call("route.list", limit=5)   # management, as the command line does
    router.kill("control")               # SIGKILL, by the pid the router itself reports

Used by the demo, the tests and the benchmarks. It promises nothing the router does not: every
wait has a deadline and raises TimeoutError that says what was seen last.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ribcage.lab.topology.namespaces import Node
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from ribcage.shared.process.names import Names
from ribcage.shared.process.python import python

T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T | None], seconds: float = 10.0) -> T:
    """Call `probe` until it returns something true; TimeoutError names `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        if value := probe():
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.01)  # the pause between two looks, not a synchronisation


@dataclass(slots=True)
class Router:
    """A router's supervisor process in a node, and a client of its management socket."""

    node: Node
    config: str
    instance: str
    folder: Path
    run_base: Path
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> Names:
        """Where this instance keeps its sockets and objects."""
        return Names(self.instance, self.run_base)

    @property
    def log(self) -> Path:
        """Standard error of every process of the router."""
        return self.folder / f"{self.instance}.log"

    def start(self, seconds: float = 20.0) -> None:
        """Start the supervisor and wait until all its processes are ready."""
        path = self.folder / f"{self.instance}.toml"
        path.write_text(self.config)
        self.let_pass()
        command = python("ribcage", "-i", self.instance, "run", "-c", str(path))
        self.environment = {**os.environ, "RIBCAGE_RUN_DIR": str(self.run_base)}
        with self.log.open("ab") as log:
            self.process = self.node.popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        self.wait_ready(seconds)

    def let_pass(self) -> None:
        """A lab's folder is a temporary one, closed to others: the users that root's processes get
        may pass, and see no more than before."""
        for folder in (self.run_base, *self.run_base.parents) if os.geteuid() == 0 else ():
            temporary = Path(tempfile.gettempdir()) in folder.parents
            if temporary and folder.exists() and folder.stat().st_uid == 0:
                folder.chmod(folder.stat().st_mode | 0o011)

    def wait_ready(self, seconds: float = 20.0) -> list[dict[str, Any]]:
        """Wait until management answers and every worker is ready; returns the process list."""
        return wait_for(f"router ready (log: {self.log})", self._ready_processes, seconds)

    def _ready_processes(self) -> list[dict[str, Any]] | None:
        if self.process is not None and self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the router ended with {self.process.returncode}:\n{tail}")
        with contextlib.suppress(RibcageError, OSError):
            found = self.processes()
            running = [p for p in found if p["role"] in ("control", "worker")]
            if len(running) > 1 and all(p["state"] == "ready" for p in running):
                return found
        return None

    def call(self, method: str, timeout: float = 10.0, **params: Any) -> Any:
        """One management call on a connection of its own."""
        with contextlib.closing(ManagementClient(self.names.control_socket)) as client:
            return client.call(method, params, timeout=timeout)

    def processes(self) -> list[dict[str, Any]]:
        """What the router says of its own processes."""
        found: list[dict[str, Any]] = self.call("process.list")["processes"]
        return found

    def pid(self, role: str, index: int = 0) -> int:
        """Pid of one process: role `supervisor`, `control`, `standby` or `worker`."""
        for process in self.processes():
            if process["role"] == role and process.get("index", 0) == index:
                return int(process["pid"])
        raise LookupError(f"no {role} {index} among {self.processes()}")

    def kill(self, role: str, index: int = 0) -> int:
        """SIGKILL one process by its pid ; returns that pid."""
        pid = self.pid(role, index)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_all(self) -> None:
        """The last resort: SIGKILL to the supervisor; the lab's end takes its children."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float = 10.0) -> int:
        """Orderly stop by SIGTERM to the supervisor; returns its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextlib.contextmanager
def running(router: Router) -> Iterator[Router]:
    """A started router that is stopped, or at the worst killed, on the way out."""
    router.start()
    try:
        yield router
    finally:
        try:
            router.stop()
        except subprocess.TimeoutExpired:
            router.kill_all()
