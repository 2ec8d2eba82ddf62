"""The whole router under each strategy: the word in the config is the only difference."""

import os
import signal
import sys
from pathlib import Path

import pytest

from ribcage.lab.topology.namespaces import Lab, available
from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_SEGMENT
from tests.netns.test_control_life import ECHO, WAIT, Router

able, why = available()
pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(not able, reason=why)]


@pytest.mark.parametrize("sync", [s for s in STRATEGIES if s not in ("epoch", "none")])
def test_packets_cross_and_killed_processes_are_followed(tmp_path: Path, sync: str) -> None:
    """A route added at run time is seen by all workers and carries packets; a worker and control
    are killed, and it does so again; after stop no object is left, the semaphores neither."""
    with Lab() as lab:
        router = Router(lab, tmp_path, sync)
        echo = router.h2.popen([sys.executable, "-c", ECHO])
        call = router.client.call
        added = call("route.add", {"dst": "203.0.113.0/24", "nexthops": [{"via": "10.0.2.2"}]})
        assert added["workers"] == {"seen": 2, "of": 2}
        router.wait("packets", router.packets_cross)
        assert call("fib.show")["strategy"] == sync
        rows = call("process.list", {"look": True})["processes"]
        maps = {m["object"] for p in rows for m in p["maps"]}
        assert any(name.endswith("sync") for name in maps) == (sync in WITH_SEGMENT), maps

        worker = router.pid("worker")
        os.kill(worker, signal.SIGKILL)
        router.wait("another worker", lambda: router.pid("worker") not in (0, worker))
        router.wait("packets", router.packets_cross)
        control = router.pid("control")
        router.wait("a standby", lambda: router.pid("standby"))
        os.kill(control, signal.SIGKILL)
        router.client.close()
        again = {"dst": "203.0.114.0/24", "nexthops": [{"via": "10.0.2.2"}]}
        router.wait("answered by the next", lambda: call("route.add", again))
        router.wait("packets", router.packets_cross)
        assert call("fib.verify", {"samples": 2000})["differences"] == []

        echo.kill()
        echo.wait()
        call("system.stop")
        assert router.process.wait(WAIT) == 0, router.log.read_text()
        assert router.r1.run(["ls", "/dev/shm"]).stdout == ""
        assert len(router.r1.run(["cat", "/proc/sysvipc/sem"]).stdout.splitlines()) <= 1
