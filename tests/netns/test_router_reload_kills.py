"""SIGHUP, and control killed at a random moment: at the word "done" the kernel is as the file says.

One trial after the other between two files that differ in an address, an interface and a route;
RIBCAGE_TORTURE=N makes N times as many trials.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import INTERFACES, ROUTES, Rig, config, lab_and_router, rig, stopped

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
TRIALS = 6 * int(os.environ.get("RIBCAGE_TORTURE", "1"))
THIRD = """
[[interface]]
name = "eth3"
address = ["10.0.8.1/24"]

[[route]]
dst = "203.0.113.0/24"
via = "10.0.8.9"
"""
FILES = (
    config(interfaces=INTERFACES, routes=ROUTES),
    config(interfaces=INTERFACES.replace('"10.0.2.1/24"', '"10.0.2.1/24", "10.0.9.1/24"'),
           routes=ROUTES + THIRD),
)  # fmt: skip
WANTED = ({"eth2": {"10.0.2.1"}, "eth3": set()}, {"eth2": {"10.0.2.1", "10.0.9.1"},
                                                  "eth3": {"10.0.8.1"}})  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A router with three links, of which the first file names two."""
    with rig(tmp_path_factory.mktemp("reloads"), FILES[0]) as made:
        made.lab.node("a8")
        made.lab.link("a8", "eth0", "r1", "eth3")
        made.lab.nodes["a8"].ip("addr add 10.0.8.2/24 dev eth0")
        yield made
        made.r1.ip("link del eth3")  # it came after the start: not the router's to leave


def done(built: Rig) -> int:
    """How often the supervisor said that a plan is in force."""
    return sum(" supervisor[" in line for line in built.log_lines("reload.done"))


def addresses(built: Rig, name: str) -> set[str]:
    text = built.r1.run(["ip", "-j", "-4", "addr", "show", "dev", name], check=True).stdout
    return {own["local"] for link in json.loads(text) for own in link.get("addr_info", ())}


def static(built: Rig) -> set[str]:
    rows = built.router.call("route.list", source="static")["routes"]
    return {row["dst"] for row in rows if row["in_fib"]}


def agrees(built: Rig, which: int) -> bool:
    """Interfaces and routes are those of the file."""
    found = {name: addresses(built, name) for name in ("eth2", "eth3")}
    return found == WANTED[which] and ("203.0.113.0/24" in static(built)) == bool(which)


def hup(built: Rig, which: int) -> None:
    (built.router.folder / "rt.toml").write_text(FILES[which])
    assert built.router.process is not None
    os.kill(supervisor(built), signal.SIGHUP)


def supervisor(built: Rig) -> int:
    pid: int = json.loads(built.router.names.state_file.read_text())["supervisor"]
    return pid


def control(built: Rig) -> int:
    children = json.loads(built.router.names.state_file.read_text())["children"]
    return next((row["pid"] for row in children if row["role"] == "control"), 0)


@pytest.mark.parametrize("trial", range(TRIALS))
def test_done_is_only_said_of_the_plan_in_force(built: Rig, trial: int) -> None:
    """A control killed 0 to 0.8 s after SIGHUP; whoever says done, interfaces and routes are the
    file's when the supervisor has said it."""
    which = (trial + 1) % 2
    built.router.wait_ready()
    before, pid = done(built), control(built)
    hup(built, which)
    moment = time.monotonic() + random.Random(trial * 7 + 1).uniform(0.0, 0.8)
    wait_for("the moment", lambda: time.monotonic() >= moment)
    os.kill(pid, signal.SIGKILL)
    wait_for("done", lambda: done(built) > before, 20)
    assert [addresses(built, name) for name in ("eth2", "eth3")] == list(WANTED[which].values())
    wait_for("control", lambda: control(built) not in (0, pid))
    built.router.wait_ready()
    wait_for("the file's routes", lambda: agrees(built, which))
    built.verified()


def test_of_two_files_in_a_row_the_second_is_in_force(built: Rig) -> None:
    """The second SIGHUP comes while the first is at work; done is said of the second, and a
    control that dies then is followed by one with the second plan."""
    for which in (1, 0, 1, 0):
        hup(built, which)
    wait_for("the last file", lambda: agrees(built, 0), 20)
    built.standby_ready()
    pid = control(built)
    os.kill(pid, signal.SIGKILL)
    built.successor("control", 0, pid)
    wait_for("still the last file", lambda: agrees(built, 0))


def test_a_file_of_another_router_or_an_empty_one_is_refused(built: Rig) -> None:
    """By SIGHUP it is logged, and everything stays as it was."""
    before = len(built.log_lines("reload.refused"))
    for number, (text, words) in enumerate(
        [("schema = 1\n", "no interface and no route"),
         ('schema = 1\n[router]\nname = "other"\n', "the file names router")], 1
    ):  # fmt: skip
        (built.router.folder / "rt.toml").write_text(text)
        os.kill(supervisor(built), signal.SIGHUP)
        wait_for(
            "refused",
            lambda number=number: len(built.log_lines("reload.refused")) >= before + number,
        )
        assert words in built.log_lines("reload.refused")[-1]
    assert agrees(built, 0)
    (built.router.folder / "rt.toml").write_text(FILES[0])
    built.echo()


def test_a_router_told_to_stop_in_the_middle_of_a_reload_stops(tmp_path: Path) -> None:
    """SIGHUP and SIGTERM right after: it ends in order and leaves nothing."""
    with rig(tmp_path, FILES[0]) as one:
        hup(one, 1)
        wait_for("at work", lambda: "by_pid" in one.router.log.read_text())


@pytest.mark.parametrize("trial", range(TRIALS // 2))
def test_a_control_told_to_end_at_any_moment_is_followed(built: Rig, trial: int) -> None:
    """SIGTERM to one control after the other, 0 to 0.3 s after it took over: the next goes on with
    what is in force."""
    built.router.wait_ready()
    pause = random.Random(trial + 11)
    for _ in range(2):
        pid = wait_for("a control", lambda: control(built))
        moment = time.monotonic() + pause.uniform(0.0, 0.3)
        wait_for("the moment", lambda moment=moment: time.monotonic() >= moment)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        wait_for("another", lambda pid=pid: control(built) not in (0, pid), 20)
    built.router.wait_ready()
    wait_for("what is in force", lambda: agrees(built, 0))
    built.verified()


@pytest.mark.parametrize("trial", range(TRIALS // 2))
def test_a_start_can_be_stopped_at_any_moment(tmp_path: Path, trial: int) -> None:
    """SIGTERM to the supervisor 0 to 0.6 s after its first line: it ends in order, exit 0, and
    leaves nothing."""
    with lab_and_router(tmp_path, FILES[0]) as one:
        text = one.router.folder / "rt.toml"
        text.write_text(FILES[0])
        environment = {**os.environ, "RIBCAGE_RUN_DIR": str(one.router.run_base)}
        with one.router.log.open("ab") as log:
            one.router.process = one.r1.popen(
                [sys.executable, "-m", "ribcage", "-i", "rt", "run", "-c", str(text)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        wait_for("its first line", lambda: one.log_lines("supervisor.starts"), 30)
        moment = time.monotonic() + random.Random(trial + 3).uniform(0.0, 0.6)
        wait_for("the moment", lambda: time.monotonic() >= moment)
        stopped(one)
