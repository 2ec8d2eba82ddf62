"""The control process among its peers: killed and stopped, in namespaces of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.topology.namespaces import Lab, available
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from ribcage.shared.plan import FibPlan, InterfacePlan, NexthopPlan, Plan, RoutePlan
from ribcage.shared.process.names import Names

able, why = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not able, reason=why)]

START = """
import os, sys
from ribcage.roles import main
fd = os.memfd_create("plan")
os.write(fd, open(sys.argv[1], "rb").read())
sys.exit(main(["supervisor", "--plan-fd", str(fd)]))
"""
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("203.0.113.5", 9999))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(2000)
    s.sendto(data, peer)
"""
ASK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect(("203.0.113.5", 9999))
for i in range(5):
    s.send(b"%d" % i)
    assert s.recv(100) == b"%d" % i
"""
WAIT = 20.0


class Router:
    """r1 between h1 and h2, run by the supervisor as `ribcage run` would."""

    def __init__(self, lab: Lab, base: Path, sync: str = "epoch") -> None:
        self.lab = lab
        self.h1, self.r1, self.h2 = (lab.node(name) for name in ("h1", "r1", "h2"))
        lab.link("h1", "eth0", "r1", "eth1")
        lab.link("h2", "eth0", "r1", "eth2")
        self.h1.ip("addr add 10.0.1.2/24 dev eth0", "link set eth0 up")
        self.h1.ip("route add default via 10.0.1.1")
        self.h2.ip("addr add 10.0.2.2/24 dev eth0", "link set eth0 up", "link set lo up")
        self.h2.ip("route add default via 10.0.2.1", "addr add 203.0.113.5/32 dev lo")
        plan = Plan(
            "life",
            interfaces=(
                InterfacePlan("eth1", ("10.0.1.1/24",)),
                InterfacePlan("eth2", ("10.0.2.1/24",)),
            ),
            routes=(
                RoutePlan("198.51.100.0/24", nexthops=(NexthopPlan(via="10.0.2.2"),)),
                RoutePlan("192.0.2.0/24", nexthops=(NexthopPlan(via="10.9.9.9"),)),
            ),
            fib=FibPlan(max_routes4=10_000, max_routes6=1_000, sync=sync),
            orphan_timeout=2.0,
        )
        (base / "plan.json").write_text(plan.dumps())
        self.names = Names("life", base / "run")
        self.log = base / "log"
        env = {"RIBCAGE_RUN_DIR": str(base / "run")}
        with self.log.open("wb") as out:
            self.process = self.r1.popen(
                [sys.executable, "-c", START, str(base / "plan.json")],
                env=env,
                stdout=out,
                stderr=out,
            )
        self.client = ManagementClient(self.names.control_socket)
        self.wait("ready", lambda: " ready " in self.log.read_text())

    def wait(self, what: str, state: Callable[[], Any]) -> Any:
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                if found := state():
                    return found
            except RibcageError:
                pass
            time.sleep(0.01)
        raise AssertionError(f"not {what} within {WAIT} s:\n{self.log.read_text()}")

    def pid(self, role: str, state: str = "ready") -> int:
        rows = self.client.call("process.list")["processes"]
        found = [row["pid"] for row in rows if (row["role"], row["state"]) == (role, state)]
        return int(found[0]) if found else 0

    def packets_cross(self) -> bool:
        return self.h1.run([sys.executable, "-c", ASK]).returncode == 0


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Router]:
    base = tmp_path
    with Lab() as lab:
        yield Router(lab, base)


def test_killed_control_loses_nothing_and_stop_leaves_nothing(life: Router) -> None:
    """A route added at run time carries packets; after kill -9 of control the standby answers,
    the route is still there and used, RIB and FIB agree; after stop no object is left."""
    echo = life.h2.popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
    assert echo.stdout is not None and echo.stdout.readline() == b"ready\n"
    call = life.client.call
    added = call("route.add", {"dst": "203.0.113.0/24", "nexthops": [{"via": "10.0.2.2"}]})
    assert added["workers"] == {"seen": 2, "of": 2}
    assert life.packets_cross()
    rows = {row["dst"]: row for row in call("route.list")["routes"]}
    assert rows["203.0.113.0/24"]["in_fib"]
    assert rows["198.51.100.0/24"]["protocol"] == "static"
    assert "no connected network" in rows["192.0.2.0/24"]["rejected"]
    assert call("explain", {"dst": "203.0.113.5", "in": "eth1"})["verdict"] == "forward"

    control = life.pid("control")
    life.wait("a standby", lambda: life.pid("standby"))
    os.kill(control, signal.SIGKILL)
    life.client.close()
    again = {"dst": "203.0.114.0/24", "nexthops": [{"via": "10.0.2.2"}]}
    life.wait("answered by the next", lambda: call("route.add", again))
    assert life.pid("control") not in (0, control)
    assert call("system.version")["takeover"]["fresh"] is False
    assert life.packets_cross()
    assert call("fib.verify", {"samples": 2000})["differences"] == []
    rows = {row["dst"]: row for row in call("route.list")["routes"]}
    assert rows["203.0.113.0/24"]["in_fib"]

    echo.kill()
    echo.communicate()
    call("system.stop")
    assert life.process.wait(WAIT) == 0, life.log.read_text()
    assert life.r1.run(["ls", "/dev/shm"]).stdout == ""
    assert "rc-host" not in life.r1.run(["ip", "link"]).stdout
