"""A lab with a router whose worker 1 is hostile, and what the others are seen to do meanwhile.

    with hostile_rig(tmp_path) as built:
        seen = built.during("queue-flood", seconds=2)
        seen.answers()               # management answered, in time

Not a test.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ribcage.lab.probe.traffic import Stream, StreamResult
from ribcage.lab.topology.namespaces import Node
from ribcage.lab.topology.router import Router, wait_for
from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import Plan
from tests.netns.hostile.launch import HOSTILE, address
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, lab_and_router, stopped

LAUNCH = Path(__file__).with_name("launch.py")
ROOT = Path(__file__).parents[3]
WORKERS = 'count = 2\nrestart = { max = 1000, window = "60s" }'
ANSWER = 1.5  # seconds: the most an answer may take, on a machine that others use too
CPU = 0.6  # share of a core: the most that control or the supervisor may spend on it
MEMORY_KB = 24 * 1024  # the most that control or the supervisor may grow by
LOG_BYTES = 400_000  # the most the log may grow by in a second


class HostileRouter(Router):
    """Started with launch.py in place of `ribcage run`; `stderr`: in place of the log file."""

    stderr: int | None = None

    def start(self, seconds: float = 30.0) -> None:
        path = self.folder / f"{self.instance}.toml"
        path.write_text(self.config)
        self.let_pass()
        plan = self.folder / "plan.json"
        compile_ = [sys.executable, "-m", "ribcage", "config", "compile", "--plan", str(path)]
        done = subprocess.run(compile_, capture_output=True, text=True, check=True)
        body = json.loads(done.stdout)
        body["name"] = self.instance
        plan.write_text(Plan.from_json(body).dumps())
        self.environment = {**os.environ, "RIBCAGE_RUN_DIR": str(self.run_base),
                            "PYTHONPATH": str(ROOT)}  # fmt: skip
        with self.log.open("ab") as log:
            self.process = self.node.popen(
                [sys.executable, str(LAUNCH), self.instance, str(plan)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=self.stderr or log,
                env=self.environment,
            )  # fmt: skip
        self.wait_ready(seconds)


def order(instance: str, what: str, seconds: float) -> dict[str, str]:
    """Inside the node: has the hostile worker do it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(seconds + 20)
        sock.connect(address(instance))
        sock.send(json.dumps({"attack": what, "seconds": seconds}).encode())
        answer: dict[str, str] = json.loads(sock.recv(65536))
        return answer


@dataclass
class Seen:
    """What was measured while an attack went on."""

    attack: dict[str, str]
    answers: list[float] = field(default_factory=list)  # seconds of each management call
    grown_kb: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)  # share of a core
    log_bytes: float = 0.0  # a second
    stream: StreamResult | None = None


class HostileRig:
    """See the module's text."""

    def __init__(self, built: Rig) -> None:
        self.built = built
        self.router = built.router

    @property
    def node(self) -> Node:
        return self.built.r1

    def order(self, what: str, seconds: float = 0.0) -> dict[str, str]:
        return self.node.call(order, self.router.instance, what, seconds)

    def during(self, what: str, seconds: float = 2.0, flow: bool = True) -> Seen:
        """The attack under a stream, and management asked all the while; asserts the bounds that
        hold for all: answers in time, memory, log, processes of the others the same."""
        before = {role: self._memory(role) for role in ("supervisor", "control")}
        pids = {role: self.router.pid(role) for role in ("supervisor", "control", "worker")}
        spent = {role: self._cpu(role) for role in before}
        size, begin = self.router.log.stat().st_size, time.monotonic()
        seen = Seen({})

        def attack() -> None:
            seen.attack = self.order(what, seconds)

        thread = threading.Thread(target=attack)
        with self._stream(flow) as stream:
            thread.start()
            while thread.is_alive() or len(seen.answers) < 3:
                seen.answers.append(self._ask(len(seen.answers)))
                thread.join(0.05)
        thread.join()
        seen.stream = stream.result if stream is not None else None
        took = time.monotonic() - begin
        seen.log_bytes = (self.router.log.stat().st_size - size) / took
        seen.cpu = {role: (self._cpu(role) - cpu) / took for role, cpu in spent.items()}
        self.router.wait_ready()
        seen.grown_kb = {role: self._memory(role) - kb for role, kb in before.items()}
        print(what, seen.attack, f"{max(seen.answers):.3f} s", seen.cpu, seen.grown_kb,
              f"{seen.log_bytes:.0f} bytes/s of log")  # fmt: skip
        assert max(seen.answers) < ANSWER, seen
        assert all(share < CPU for share in seen.cpu.values()), seen
        assert all(kb < MEMORY_KB for kb in seen.grown_kb.values()), seen
        assert seen.log_bytes < LOG_BYTES, seen
        now = {role: self.router.pid(role) for role in pids}
        assert now == pids, f"somebody else died: {pids} -> {now}"
        return seen

    def _ask(self, number: int) -> float:
        begin = time.monotonic()
        method = ("stats.show", "process.list", "fib.show", "ipc.show")[number % 4]
        self.router.call(method, timeout=20.0)
        return time.monotonic() - begin

    def _memory(self, role: str) -> int:
        status = Path(f"/proc/{self.router.pid(role)}/status").read_text()
        return int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmRSS")))

    def _cpu(self, role: str) -> float:
        fields = Path(f"/proc/{self.router.pid(role)}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def _stream(self, wanted: bool) -> Iterator[Stream | None]:
        if not wanted:
            yield None
            return
        with Stream(self.built.h1, self.built.h2, "10.0.2.2", flows=FLOWS) as stream:
            yield stream

    def add_route(self) -> dict[str, Any]:
        """`route add --wait`: its answer, or its error as one."""
        try:
            found: dict[str, Any] = self.router.call(
                "route.add", dst="203.0.113.0/24", nexthops=[VIA_H2], wait="visible"
            )
        except RibcageError as error:
            return {"code": error.code, "message": error.message}
        finally:
            with contextlib.suppress(RibcageError):
                self.router.call("route.del", dst="203.0.113.0/24", wait="none")
        return found

    def finds_a_new_neighbour(self, host: int) -> None:
        """An address that came up just now answers, whichever worker has the flow."""
        self.built.h2.ip(f"addr add 10.0.2.{host}/24 dev eth0")
        self.built.echo(f"10.0.2.{host}", 1)

    def worker(self, index: int) -> dict[str, Any]:
        rows = self.built.stats()["workers"]
        return next(row for row in rows if row["worker"] == index)

    def healed(self) -> None:
        """The hostile worker is killed, as the error advises: its successor is like any other."""
        pid = self.router.pid("worker", HOSTILE)
        os.kill(pid, 9)
        self.built.successor("worker", HOSTILE, pid)
        wait_for("believed", lambda: not any(row["odd"] for row in self.built.stats()["workers"]))
        self.built.echo()


@contextlib.contextmanager
def hostile_rig(
    folder: Path, *, user: bool | None = None, sync: str = "epoch", stderr: int | None = None
) -> Iterator[HostileRig]:
    fib = f'max_routes4 = 10_000\nmax_routes6 = 1_000\nsync = "{sync}"'
    text = config(fib=fib, workers=WORKERS)
    with lab_and_router(folder, text, user=user) as plain:
        router = plain.router
        own = HostileRouter(
            router.node, router.config, router.instance, router.folder, router.run_base
        )
        own.stderr = stderr
        built = Rig(plain.lab, own, plain.before)
        try:
            own.start()
            built.echo(count=1)
            yield HostileRig(built)
            stopped(built)
        finally:
            own.kill_all()
