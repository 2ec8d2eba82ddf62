"""`ribcage fault`: refused where it is not allowed; else a story of what was seen, and true."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.cli.answer.tables import hanging
from ribcage.cli.main import main
from ribcage.lab.fault import story
from ribcage.lab.fault.kinds import KINDS
from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import Rig, config, rig

POSSIBLE, REASON = available()
TEACH = 'orphan_timeout = "5s"\nteach = true'


def test_every_kind_is_listed_with_what_to_expect(capsys: Any) -> None:
    """`ribcage fault --list` needs no router."""
    assert main(["-j", "fault", "--list"]) == 0
    told = json.loads(capsys.readouterr().out)["kinds"]
    assert {row["kind"] for row in told} == set(KINDS)
    assert all(row["says"] and row["expect"] for row in told)
    wanted = {
        "kill", "stop", "hang", "segv", "abort", "fib-write", "hold-semaphore", "fill-queue",
        "flood-events", "corrupt-copy", "slow", "poison",
    }  # fmt: skip
    assert wanted <= set(KINDS)


def test_a_kind_that_does_not_exist_is_refused_with_where_to_look(capsys: Any) -> None:
    """Before anything is asked of a router."""
    assert main(["fault", "kil"]) == 2
    assert "ribcage fault --list" in capsys.readouterr().err


def test_the_story_says_what_became_of_the_packets() -> None:
    """From the counters before and after."""
    before = {
        "totals": {"rx": 10, "forwarded": 9, "delivered": 1, "drops": {"no-route": 0}},
        "workers": [{"worker": 0, "rx": 10}],
    }
    after = {
        "totals": {"rx": 30, "forwarded": 27, "delivered": 1, "drops": {"no-route": 2}},
        "workers": [{"worker": 0, "rx": 18}, {"worker": 1, "rx": 12}],
        "balanced": True,
    }
    packets = story.ledger(before, after)
    assert packets is not None and packets["drops"] == {"no-route": 2}
    document = {
        "events": [{"t_ms": 1.5, "who": "worker 0", "what": "pid 7 is gone"}],
        "packets": packets, "healed": True, "expect": "a successor",
    }  # fmt: skip
    text = "\n".join(story.lines(document))
    assert "1.5 ms  worker 0  pid 7 is gone" in text
    assert "20 packets came meanwhile (worker 0 8, worker 1 12): 18 forwarded." in text
    assert "Dropped: 2 no-route." in text and "whole again" in text
    document["healed"], document["packets"] = False, story.ledger(before, None)
    text = "\n".join(story.lines(document))
    assert "not whole" in text and "Nobody could be asked" in text


needs_lab = pytest.mark.skipif(not POSSIBLE, reason=REASON)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("taught"), text=config(router=TEACH)) as made:
        yield made


@pytest.fixture
def fault(taught: Rig) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs the command as a user types it, outside the lab."""
    taught.router.wait_ready()

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        router = taught.router
        environment = {**os.environ, "RIBCAGE_RUN_DIR": str(router.run_base)}
        command = [sys.executable, "-m", "ribcage", "-j", "-i", router.instance, "fault", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=60
        )
        return done.returncode, json.loads(done.stdout)

    return run


def said(document: dict[str, Any]) -> str:
    return "\n".join(f"{event['who']}: {event['what']}" for event in document["events"])


@pytest.mark.netns
@needs_lab
def test_a_killed_worker_is_a_story_from_the_kill_to_the_successor(fault: Any, taught: Rig) -> None:
    """Who died, who says so, who is there instead; whole again, exit 0."""
    old = taught.router.pid("worker", 1)
    status, told = fault("kill", "worker1")
    assert status == 0, told
    text = said(told)
    new = taught.router.pid("worker", 1)
    assert f"you: SIGKILL to worker 1 (pid {old})" in text
    assert f"worker 1: pid {old} is gone" in text
    assert f"worker 1: a new process, pid {new}" in text
    assert "supervisor: says how worker 1 ended: killed by signal 9" in text
    assert told["healed"] and told["packets"]["balanced"]
    times = [event["t_ms"] for event in told["events"]]
    assert times == sorted(times) and times[0] >= 0


@pytest.mark.netns
@needs_lab
def test_whose_flows_stand_still_and_go_on_is_told(fault: Any, taught: Rig) -> None:
    """A worker is stopped under a stream that both carry."""
    with Stream(taught.h1, taught.h2, "10.0.2.2", rate=400, flows=16) as stream:
        stream.carried(0.3)
        status, told = fault("stop", "worker0")
    assert status == 0, told
    text = said(told)
    assert "worker 0: takes no packets any more" in text, text
    assert "worker 0: takes packets again" in text, text
    assert told["packets"]["rx"] > 100


@pytest.mark.netns
@needs_lab
def test_a_damaged_copy_of_the_fib_is_refused_and_the_fib_untouched(
    fault: Any, taught: Rig
) -> None:
    """The copy is in memory of the command; the router does not notice."""
    digest = taught.router.call("fib.show")["published"]["digest"]
    status, told = fault("corrupt-copy")
    assert status == 0, told
    assert "can be attached" in said(told) and "attach: refused it" in said(told)
    assert taught.router.call("fib.show")["published"]["digest"] == digest


@pytest.mark.netns
@needs_lab
@pytest.mark.parametrize("kind", ["fill-queue", "flood-events", "hold-semaphore", "slow"])
def test_a_fault_that_kills_nobody_leaves_everybody(fault: Any, taught: Rig, kind: str) -> None:
    """The same pids before and after, in the router's own namespaces."""
    before = {p["pid"] for p in taught.router.processes() if p["role"] != "standby"}
    status, told = fault(kind)
    assert status == 0, told
    assert len(told["events"]) >= 2
    assert {p["pid"] for p in taught.router.processes() if p["role"] != "standby"} == before


@pytest.mark.netns
@needs_lab
def test_a_target_that_is_not_there_is_told(fault: Any) -> None:
    """A worker beyond the last; a role that the kind does not take."""
    status, told = fault("kill", "worker9")
    assert status == 1 and told["error"]["code"] == "E_FAULT"
    status, told = fault("hang", "control")
    assert status == 2 and told["error"]["code"] == "E_USAGE"


@pytest.mark.netns
@needs_lab
def test_a_router_without_teach_refuses_and_says_how_it_would_not(tmp_path: Path) -> None:
    """Whatever the kind; nothing happens to it."""
    with rig(tmp_path, text=config()) as plain:
        router = plain.router
        before = {p["pid"] for p in router.processes()}
        environment = {**os.environ, "RIBCAGE_RUN_DIR": str(router.run_base)}
        command = [sys.executable, "-m", "ribcage", "-i", router.instance, "fault", "kill"]
        done = subprocess.run(
            [*command, "worker0"], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 1
        assert "E_TEACH" in done.stderr and "teach = true" in done.stderr
        assert before <= {p["pid"] for p in router.processes()}


def test_what_should_follow_is_said_of_the_target() -> None:
    """A supervisor is not told to be replaced within a worker's time."""
    for kind in KINDS.values():
        assert set(kind.of_role) <= set(kind.targets.replace(" ", "").split(","))
    stop = KINDS["stop"]
    assert "hang_timeout" in stop.expects("control") and "after 5 s" in stop.expects("supervisor")
    assert stop.expects("") == stop.expects("worker 1") == stop.expects("worker0")
    assert KINDS["kill"].expects("standby") == "nobody notices; a new one is made"


def test_a_long_sentence_is_wrapped_on_a_terminal() -> None:
    """No line of a story is wider than 80 columns, and none loses a word."""
    what = "refused it: " + "a reason of some length, " * 6
    document = {
        "events": [{"t_ms": 3.5, "who": "attach", "what": what.strip()}],
        "packets": None, "healed": True, "expect": KINDS["stop"].expect,
    }  # fmt: skip
    told = [line for row in story.rows(document) for line in hanging(*row, 80)]
    assert max(map(len, told)) <= 80 and any(line.startswith(" " * 20) for line in told)
    assert " ".join(" ".join(told).split()) == " ".join(" ".join(story.lines(document)).split())


@pytest.mark.netns
@needs_lab
def test_a_frame_that_ends_two_workers_is_set_aside_by_the_third(fault: Any, taught: Rig) -> None:
    """`fault poison`: what the manual promises of such a frame, seen."""
    status, told = fault("poison")
    assert status == 0, told
    text = said(told)
    assert "is gone" in text and "supervisor: says 2 workers ended" in text
    assert "control: says a frame of rc-port is set aside" in text
    assert told["packets"]["drops"] == {"set-aside": 1} and told["packets"]["balanced"]


@pytest.mark.netns
@needs_lab
def test_whole_again_means_the_standby_too(fault: Any, taught: Rig) -> None:
    """The story of a killed control ends when there is another standby."""
    wait_for("a standby", lambda: states(taught).get("standby") == "ready", 10.0)
    for target in ("control", "standby"):
        status, told = fault("kill", target)
        assert status == 0 and told["healed"], told
        assert states(taught).get("standby") == "ready", told


def states(taught: Rig) -> dict[str, str]:
    return {row["role"]: row["state"] for row in taught.router.processes()}
