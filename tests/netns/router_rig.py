"""A whole router in a lab for black-box tests: supervisor, control, standby and two workers.

    with rig(tmp_path, more="[hold]\\ntimeout = '500ms'\\n") as r:
        r.router.kill("control")
        r.balanced()

Not a test. At the end of the block the router is stopped in order, which has to leave nothing
behind and to succeed; a block that ends otherwise says `stop=False`.
"""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ribcage.lab.demo.steps import leftovers
from ribcage.lab.probe.traffic import StreamResult, probe
from ribcage.lab.topology.namespaces import Lab, Node
from ribcage.lab.topology.router import Router, wait_for
from ribcage.lab.topology.topologies import R1_INTERFACES, R1_ROUTES, demo

INTERFACES = R1_INTERFACES
ROUTES = R1_ROUTES
FLOWS = 16
# Room for two seconds of a stream in each ring (8 MiB, 32 MiB a router), should a CPU stand still
# that long. A slot holds a packet of these links, not the 64 KiB of a TCP sender's.
SMALL_SLOTS = "slots = 2048\nslot_bytes = 4096"
TCP_SLOTS = "slots = 256"  # of the default size
VIA_H2 = {"via": "10.0.2.2", "dev": None, "weight": 1}


def config(
    more: str = "",
    *,
    fib: str = "max_routes4 = 10_000\nmax_routes6 = 1_000",
    workers: str = "count = 2",
    rings: str = SMALL_SLOTS,
    router: str = 'orphan_timeout = "5s"',
    interfaces: str = INTERFACES,
    routes: str = ROUTES,
) -> str:
    """A configuration with small tables, so that a router starts quickly; `more`: tables."""
    head = f"schema = 1\n[router]\n{router}\n[workers]\n{workers}\n[fib]\n{fib}\n"
    return head + f"[rings]\n{rings}\n" + more + interfaces + routes


@dataclass(slots=True)
class Rig:
    """The lab of `topologies.demo` with a router in r1."""

    lab: Lab
    router: Router
    before: str  # leftovers() before the router's first start

    @property
    def h1(self) -> Node:
        return self.lab.nodes["h1"]

    @property
    def r1(self) -> Node:
        return self.lab.nodes["r1"]

    @property
    def h2(self) -> Node:
        return self.lab.nodes["h2"]

    # -- what the router says

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.router.call("stats.show")
        return found

    def drops(self) -> dict[str, int]:
        """Reason -> packets, those that happened."""
        rows = self.router.call("drops.show")["reasons"]
        return {row["reason"]: row["total"] for row in rows}

    def received(self) -> list[int]:
        """rx of each worker."""
        return [worker["rx"] for worker in self.stats()["workers"]]

    def balanced(self) -> dict[str, Any]:
        """Asserts that every packet has an outcome; the totals."""
        stats = self.stats()
        totals: dict[str, Any] = stats["totals"]
        outcomes = totals["forwarded"] + totals["delivered"] + totals["held"] + totals["dropped"]
        assert stats["balanced"] and totals["rx"] == outcomes, totals
        return totals

    def nothing_lost(self, result: StreamResult) -> None:
        """Asserts that every packet of a stream came; else shows what router and machine say."""
        if result.lost:
            stats = self.stats()
            raise AssertionError(
                f"{result.lost} of {result.sent} packets lost; {result.circumstances};"
                f" totals {stats['totals']}, drops {self.drops()}, workers {stats['workers']}"
            )

    def verified(self) -> None:
        """Asserts that RIB, FIB and real lookups agree."""
        report = self.router.call("fib.verify", samples=2000)
        assert report["count"] == 0, report["differences"][:3]

    def log_lines(self, word: str) -> list[str]:
        """Lines of the router's log with this event in them."""
        text = self.router.log.read_text(errors="replace")
        return [line for line in text.splitlines() if f" {word} " in f"{line} "]

    def successor(self, role: str, index: int, old: int, seconds: float = 10.0) -> int:
        """Waits for another process, ready, in this place; its pid."""

        def look() -> int | None:
            with contextlib.suppress(Exception):
                for row in self.router.processes():
                    if (row["role"], row.get("index", 0)) == (role, index):
                        fresh = row["state"] == "ready" and row["pid"] != old
                        return int(row["pid"]) if fresh else None
            return None

        return wait_for(f"a new {role} {index}", look, seconds)

    def standby_ready(self) -> None:
        """Waits until a death of control would be answered by a standby."""
        wait_for(
            "a standby",
            lambda: any(
                row["role"] == "standby" and row["state"] == "ready"
                for row in self.router.processes()
            ),
        )

    # -- traffic

    def echo(self, target: str = "10.0.2.2", count: int = 3) -> None:
        """Asserts that echoes from h1 all come back."""
        seen = probe(self.h1, "echo", target, "--count", str(count))
        assert not seen["lost"], seen

    def both_carry(self, before: Sequence[int]) -> None:
        """Waits until each worker received something since `before` = received()."""
        wait_for(
            "packets on every worker",
            lambda: all(now > then for now, then in zip(self.received(), before, strict=True)),
        )

    def resolved(self, *gateways: str) -> None:
        """Waits until these neighbours have their host route."""

        def look() -> bool:
            rows = self.router.call("neighbour.list")["neighbours"]
            return set(gateways) <= {row["address"] for row in rows if row["route"]}

        wait_for(f"{gateways} resolved", look)

    def mac(self, node: str, name: str) -> bytes:
        text = self.lab.nodes[node].run(["ip", "-j", "link", "show", name], check=True).stdout
        return bytes.fromhex(json.loads(text)[0]["address"].replace(":", ""))

    def send(self, frames: Sequence[bytes], node: str = "h1", name: str = "eth0") -> None:
        """Frames as they are, out of an interface of a node."""
        self.lab.nodes[node].call(send_frames, name, list(frames))

    def counted(self, what: str, state: Callable[[], bool]) -> None:
        """Waits for counters to reach a state; the message shows where they stood."""
        try:
            wait_for(what, state)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.stats()['totals']}") from error


def send_frames(name: str, frames: list[bytes]) -> None:
    """Inside a node: each frame out of `name`, in order."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((name, 0))
        for frame in frames:
            while True:
                try:
                    sock.send(frame)
                    break
                except BlockingIOError:
                    time.sleep(0.001)


@contextlib.contextmanager
def lab_and_router(
    folder: Path, text: str, instance: str = "rt", user: bool | None = None
) -> Iterator[Rig]:
    """The lab, and a router that is not started yet; what lives at the end is killed."""
    with Lab(user) as lab:
        demo(lab)
        router = Router(lab.nodes["r1"], text, instance, folder, folder / "run")
        built = Rig(lab, router, leftovers(router))
        try:
            yield built
        finally:
            router.kill_all()


@contextlib.contextmanager
def rig(
    folder: Path,
    text: str | None = None,
    *,
    more: str = "",
    user: bool | None = None,
    stop: bool = True,
) -> Iterator[Rig]:
    """A router that runs, with both gateways resolved; see the module's text."""
    with lab_and_router(folder, text or config(more), user=user) as built:
        built.router.start()
        built.echo(count=1)
        yield built
        if stop:
            stopped(built)


def stopped(built: Rig) -> None:
    """Asserts that an orderly stop succeeds and leaves nothing."""
    assert built.router.stop() == 0, built.router.log.read_text()[-3000:]
    after = leftovers(built.router)
    gone = set(built.before.splitlines()) - set(after.splitlines())
    new = set(after.splitlines()) - set(built.before.splitlines())
    assert after == built.before, f"changed: {gone} -> {new}"
