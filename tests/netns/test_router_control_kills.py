"""kill -9 of control at random moments while a client adds and deletes routes."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import Router
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.management import ManagementClient
from tests.netns.router_rig import FLOWS, VIA_H2, Rig, config, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

KILLS = 5
WORKERS = 'count = 2\nrestart = { max = 1000, window = "60s" }'


class Changer(threading.Thread):
    """Adds route after route and deletes every fifth; remembers what was acknowledged."""

    def __init__(self, router: Router) -> None:
        super().__init__(name="changer", daemon=True)
        self.there: set[str] = set()
        self.gone: set[str] = set()
        self.errors: list[str] = []
        self.unanswered = 0
        self.ended = threading.Event()
        self._client = ManagementClient(router.names.control_socket)

    def run(self) -> None:
        for number in range(60_000):
            if self.ended.is_set():
                break
            prefix = f"100.{64 + number // 256 % 64}.{number % 256}.0/24"
            if self._ask("route.add", {"dst": prefix, "nexthops": [VIA_H2], "wait": "none"}):
                self.there.add(prefix)
                if number % 5 == 4:
                    # Asked, perhaps without an answer: then either state is right.
                    self.there.discard(prefix)
                    if self._ask("route.del", {"dst": prefix, "wait": "none"}):
                        self.gone.add(prefix)
        self._client.close()

    def _ask(self, method: str, params: dict[str, object]) -> bool:
        try:
            self._client.call(method, params, timeout=5.0)
            return True
        except RibcageError as error:
            if error.exit_code != Exit.NO_DAEMON:
                self.errors.append(str(error))
            self.unanswered += 1
            self._client.close()
            self.ended.wait(0.002)
            return False


def prefixes(built: Rig) -> set[str]:
    """Every route added at run time, and in the FIB."""
    found: set[str] = set()
    cursor = None
    while True:
        page = built.router.call("route.list", source="added", cursor=cursor)
        found |= {row["dst"] for row in page["routes"] if row["in_fib"]}
        cursor = page["cursor"]
        if cursor is None:
            return found


def asked(built: Rig) -> int:
    """Events the workers sent, most of them because a neighbour was not known."""
    return sum(int(worker["events_sent"]) for worker in built.stats()["workers"])


@pytest.mark.slow
def test_every_acknowledged_route_outlives_the_killed_control(tmp_path: Path) -> None:
    """What was answered holds after each death, deletions too; RIB, FIB and lookups agree; the
    stream under it loses nothing."""
    rng = random.Random(7)
    with rig(tmp_path, config(workers=WORKERS)) as built:
        changer = Changer(built.router)
        built.echo("10.0.2.2")
        misses = asked(built)
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            changer.start()
            for kill in range(KILLS):
                if kill % 2 == 0:
                    built.standby_ready()
                stream.carried(rng.uniform(0.02, 0.4))  # a random moment is the point
                old = built.router.pid("control")
                os.kill(old, signal.SIGKILL)
                built.successor("control", 0, old)
            stream.carried(0.2)
            changer.ended.set()
            changer.join(10)
        assert not changer.errors, changer.errors[:3]
        assert len(changer.there) > 100
        assert len(changer.gone) > 20
        found = prefixes(built)
        assert changer.there - found == set()
        assert changer.gone & found == set()
        some = rng.sample(sorted(changer.there), 50)
        for prefix in some:
            answer = built.router.call("route.get", dst=prefix.replace(".0/24", ".9"))
            assert (answer["prefix"], answer["gateway"]) == (prefix, "10.0.2.2")
        built.verified()
        built.nothing_lost(stream.result)
        assert stream.result.duplicates == 0
        assert len(built.log_lines("takeover.done")) == KILLS + 1
        assert not built.log_lines("verify.differs")
        # A successor that forgets links or neighbours for a moment is seen here, not only when the
        # hold queues overflow.
        assert asked(built) == misses
        assert not built.log_lines("port.gone")
        built.balanced()
