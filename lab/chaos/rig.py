"""A chaos lab: the network of plan.py with a router as a daemon, numbered traffic and churn.

    with Rig(out, workers=3, seed=1, rate=200) as rig:
        rig.start()                     # router, then churn, then traffic
        rig.cast.found(); rig.call("process.list"); rig.r1.ip("link set eth11 down")
        rig.quiet()                     # traffic and churn end; their documents
        rig.stop()                      # what the router left behind, in words

The run directory is a small tmpfs of the lab's own, so that it can be filled; from outside it is
reached through /proc/PID/root. The log is outside, in `out`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ribcage.lab.chaos import plan
from ribcage.lab.chaos.cast import Actor, Cast
from ribcage.lab.demo.steps import leftovers
from ribcage.lab.topology.namespaces import Lab, LabError, Node
from ribcage.lab.topology.router import Router, wait_for
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.management import ManagementClient
from ribcage.shared.process.names import Names

RUN_MIB = 2  # of the run directory's tmpfs
START_SECONDS = 30.0


def _short_place(out: Path) -> Path:
    """A folder that the tmpfs may cover in the lab's own mount namespace: a short name, since a
    socket's path has 107 characters at most; and nothing that the lab needs lies below it."""
    needed = [out, Path.cwd(), Path(__file__).resolve(), Path(sys.prefix), Path(sys.base_prefix)]
    for place in map(Path, ("/mnt", "/media", "/srv", "/opt")):
        if place.is_dir() and not any(place in one.parents for one in needed):
            return place
    folder = out / "run"
    folder.mkdir(exist_ok=True)
    return folder


class Rig:
    """See the module's text."""

    def __init__(self, out: Path, workers: int, seed: int, rate: float) -> None:
        self.out, self.workers, self.seed, self.rate = out, workers, seed, rate
        self.records = out / "records"
        self.records.mkdir(parents=True, exist_ok=True)
        self._stack = contextlib.ExitStack()
        self._probes: dict[str, subprocess.Popen[str]] = {}
        self._supervisor: Actor | None = None
        self.disturbed: set[str] = set()  # words of lines that a fault changed, not the router

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.lab = stack.enter_context(Lab())
            self._build()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for probe in self._probes.values():
            probe.kill()
            probe.wait()
        self._stack.close()

    def _build(self) -> None:
        lab = self.lab
        self.r1 = lab.node("r1")
        for source in range(1, plan.SOURCES + 1):
            host = lab.node(f"s{source}")
            lab.link("r1", plan.source_port(source), host.name, "eth0")
            host.ip(
                f"addr add 10.1.{source}.2/24 dev eth0",
                f"addr add 2001:db8:1:{source}::2/64 dev eth0",
                f"route add default via 10.1.{source}.1",
                f"route add ::/0 via 2001:db8:1:{source}::1",
            )
            self.teach_neighbour(source)
        for sink in range(1, plan.SINKS + 1):
            host = lab.node(f"k{sink}")
            lab.link("r1", plan.sink_port(sink), host.name, "eth0")
            host.ip(
                f"addr add 10.2.{sink}.2/24 dev eth0",
                f"addr add 2001:db8:2:{sink}::2/64 dev eth0",
                f"route add default via 10.2.{sink}.1",
                f"route add ::/0 via 2001:db8:2:{sink}::1",
                "route add local 198.18.0.0/15 dev lo",
                "route add local 2001:db8:f00::/40 dev lo",
            )
        self.run_base = _short_place(self.out)
        words = ["mount", "-t", "tmpfs", "-o", f"size={RUN_MIB}m,mode=0755", "tmpfs"]
        self.r1.run([*words, str(self.run_base)], check=True)
        self.names = Names(plan.INSTANCE, self.inside(self.run_base))
        self.environment = {**os.environ, "RIBCAGE_RUN_DIR": str(self.run_base)}
        self.log = self.out / "router.log"
        self.cast = Cast(self.r1.pid, plan.INSTANCE)
        self._router = Router(self.r1, "", plan.INSTANCE, self.out, self.names.run_base)
        self.before = leftovers(self._router)

    def inside(self, path: Path) -> Path:
        """A path of the lab's mount namespace as this process can open it."""
        return Path(f"/proc/{self.r1.pid}/root{path}")

    def shm(self, name: str) -> Path:
        """A segment of the router's by its name (`/ribcage.chaos.fib`)."""
        return self.inside(Path("/dev/shm") / name.lstrip("/"))

    def teach_neighbour(self, source: int) -> None:
        """The source's entries for the router never age: what a source asks is not under test."""
        port = plan.source_port(source)
        links = json.loads(self.r1.run(["ip", "-j", "link", "show", port], check=True).stdout)
        mac = links[0]["address"]
        self.lab.nodes[f"s{source}"].ip(
            f"neigh replace 10.1.{source}.1 lladdr {mac} dev eth0 nud permanent",
            f"neigh replace 2001:db8:1:{source}::1 lladdr {mac} dev eth0 nud permanent",
        )

    # -- the router

    def start(self) -> None:
        """Router, table, churn and traffic."""
        (self.out / "router.toml").write_text(plan.config(self.workers))
        self.launch()
        self.load()
        self._start_probe("churn", None, "chaos.churn", "--socket", str(self.names.control_socket),
                          "--folder", str(self.records), "--seed", str(self.seed))  # fmt: skip
        for sink in range(1, plan.SINKS + 1):
            words = ["receive", "--folder", str(self.records), "--name", f"k{sink}"]
            self._start_probe(f"k{sink}", self.lab.nodes[f"k{sink}"], "probe.numbered", *words)
        for source in range(1, plan.SOURCES + 1):
            words = ["send", "--folder", str(self.records), "--name", f"s{source}"]
            words += ["--rate", str(self.rate)]
            for flow in plan.flows():
                if flow.source == source:
                    words += ["--flow", f"{flow.number},{flow.target}"]
            self._start_probe(f"s{source}", self.lab.nodes[f"s{source}"], "probe.numbered", *words)

    def launch(self) -> None:
        """`ribcage run --daemon`, also beside a router whose supervisor is dead."""
        command = [sys.executable, "-IP", "-m", "ribcage", "-i", plan.INSTANCE, "--timeout",
                   str(START_SECONDS), "run", "-c", str(self.out / "router.toml"), "--daemon",
                   "--log-file", str(self.log)]  # fmt: skip
        done = self.r1.run(command, env=self.environment, timeout=START_SECONDS + 10)
        # A supervisor that has only just started has no title yet, and needs no second one.
        if done.returncode not in (0, Exit.RUNNING):
            raise LabError(f"the router did not start: {done.stderr.strip()}")

    def load(self) -> None:
        """The routes that nobody changes."""
        with ManagementClient(self.names.control_socket, 20.0) as client:
            vias = [plan.via(1, 4)]
            begun = client.call("route.load.begin", {"source": "added", "vias": vias})
            text = "".join(f"{prefix} 1\n" for prefix in plan.loaded())
            client.call("route.load.chunk", {"id": begun["id"], "text": text})
            client.call("route.load.commit", {"id": begun["id"], "wait": "published"})

    def call(self, method: str, timeout: float = 1.0, **params: Any) -> Any:
        """One management call on a connection of its own."""
        with ManagementClient(self.names.control_socket, timeout) as client:
            return client.call(method, params)

    def processes(self) -> list[dict[str, Any]]:
        """What the router says of itself; nothing when it does not answer."""
        try:
            found: list[dict[str, Any]] = self.call("process.list")["processes"]
            return found
        except RibcageError:
            return []

    def complete(self, found: list[dict[str, Any]] | None = None) -> bool:
        """Everybody there and ready. Not the standby: it comes a second later, and a control that
        dies before has to be replaced, too."""
        found = self.processes() if found is None else found
        ready = [p["role"] for p in found if p.get("state") == "ready"]
        return (
            ready.count("worker") == self.workers and "control" in ready and self._has_supervisor()
        )

    def _has_supervisor(self) -> bool:
        """Looked for in all of /proc only when the one that is known is gone."""
        if self._supervisor is None or not self._supervisor.alive():
            self._supervisor = next(iter(self.cast.found()["supervisor"]), None)
        return self._supervisor is not None

    def kill_everybody(self) -> None:
        """The guardian first, so that nobody is made anew."""
        for _ in range(3):
            for actor in self.cast.everybody():
                actor.send(9)

    def shm_room(self) -> None:
        """/dev/shm as large as it was, whatever a fault made of it."""
        self.r1.run(["mount", "-o", "remount,size=50%", "/dev/shm"], check=True)

    # -- traffic

    def _start_probe(self, name: str, node: Node | None, module: str, *words: str) -> None:
        command = [sys.executable, "-IP", "-m", f"ribcage.lab.{module}", *words]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        errors = (self.out / f"{name}.err").open("ab")
        with errors:
            probe = (
                subprocess.Popen(command, stderr=errors, **pipes)
                if node is None
                else node.popen(command, stderr=errors, **pipes)
            )
        self._probes[name] = probe
        assert probe.stdout is not None
        if probe.stdout.readline().strip() != "ready":
            raise LabError(f"{name} did not start: {(self.out / f'{name}.err').read_text()[-500:]}")

    def routes_again(self) -> None:
        """A router that was started anew has no route of run time: load and churn put them back."""
        self.load()
        stdin = self._probes["churn"].stdin
        assert stdin is not None
        stdin.write("again\n")
        stdin.flush()

    def quiet(self) -> dict[str, Any]:
        """Ends sources, churn, then sinks; what each says of itself."""
        said: dict[str, Any] = {}
        for name in sorted(self._probes, key=lambda one: (one.startswith("k"), one)):
            if name == "k1":
                time.sleep(1.0)  # what is held for a neighbour may come yet
            probe = self._probes.pop(name)
            try:
                out, _ = probe.communicate(timeout=10)
                said[name] = json.loads(out) if out.strip() else {}
            except (subprocess.TimeoutExpired, ValueError):
                probe.kill()
                probe.wait()
                said[name] = {"ended": False}
        return said

    # -- the end

    def stop(self) -> list[str]:
        """`ribcage stop`; then whatever differs from before the first start, and who still runs."""
        command = [sys.executable, "-IP", "-m", "ribcage", "-i", plan.INSTANCE, "stop"]
        done = self.r1.run(command, env=self.environment, timeout=40)
        left = [] if done.returncode == 0 else [f"stop: {done.stderr.strip()[-300:]}"]
        with contextlib.suppress(TimeoutError):  # a guardian may end a moment after the last child
            wait_for("no process left", lambda: not self.cast.everybody(), 2.0)
        left += [f"process {actor.name} pid {actor.pid}" for actor in self.cast.everybody()]
        after = leftovers(self._router)
        was, now = Counter(self.before.splitlines()), Counter(after.splitlines())
        changes = [f"-{line}" for line in (was - now).elements()]  # whatever the order is
        changes += [f"+{line}" for line in (now - was).elements()]
        return left + [line for line in changes if not any(word in line for word in self.disturbed)]
