"""What control may ask for: ports, reload, faults; and what nobody may do."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.netns.counters import stats_paths

MakeRouter = Callable[..., Any]


def rings(pid: int) -> list[str]:
    try:
        found = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []
    return sorted(link.split(":")[1].split(" ")[0] for link in found if "ring-" in link)


def stats_inodes(pid: int) -> dict[str, int]:
    return {name: path.stat().st_ino for name, path in stats_paths(pid).items()}


def test_a_port_is_opened_once_a_worker_and_closed_everywhere(router: Any) -> None:
    """port-open is idempotent; port-close takes it from workers and supervisor."""
    assert router.open_port(4)["ok"] is True
    assert router.open_port(4)["ok"] is True
    first, second = router.worker_pids()
    router.until("rings", lambda: (rings(first), rings(second)) == (["ring-4-0"], ["ring-4-1"]))
    assert rings(router.pid) == ["ring-4-0", "ring-4-1"]
    router.tell({"type": "port-close", "index": 4})
    router.until("closed", lambda: rings(first) == rings(second) == rings(router.pid) == [])


def test_another_interface_under_the_same_index_gets_new_sockets(router: Any) -> None:
    """The interface came back with another ifindex: the old sockets are of no use."""
    router.open_port(4)
    first = router.worker_pids()[0]
    router.until("ring", lambda: rings(first) == ["ring-4-0"])
    old = [
        e.stat().st_ino for e in Path(f"/proc/{first}/fd").iterdir() if "ring-" in str(e.readlink())
    ]
    router.open_port(4, "eth0", 99)

    def renewed() -> bool:
        now = [
            e.stat().st_ino
            for e in Path(f"/proc/{first}/fd").iterdir()
            if "ring-" in str(e.readlink())
        ]
        return len(now) == 1 and now != old

    router.until("another socket", renewed)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing0", "no such device"),
        ("half0", "the second one fails"),
        ("a/b", "not an interface"),
    ],
)
def test_a_port_that_cannot_be_opened_is_answered(router: Any, name: str, words: str) -> None:
    """The error goes to control, nothing stays half open, the router goes on."""
    answer = router.open_port(5, name)
    assert answer["ok"] is False
    assert words in answer["error"]
    assert rings(router.pid) == []
    assert router.open_port(5)["ok"] is True


def test_rings_are_bounded_by_the_plan(router: Any) -> None:
    """rings.max_memory holds over all ports and workers."""
    router.tell({"type": "port-open", "index": 1, "name": "big", "ifindex": 3, "kind": "port",
                 "slots": 65536, "slot_bytes": 1 << 20})  # fmt: skip
    answer = router.said("port-opened")
    assert answer["ok"] is False
    assert "rings.max_memory" in answer["error"]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "nonsense"},
        {"type": "port-open"},
        {"type": "port-open", "index": -1},
        {"type": "port-open", "index": True},
        {"type": "port-close", "index": "x"},
        {"type": "fib-ready", "name": "/etc/passwd"},
        {"type": "fib-ready"},
        {"type": "fault-request", "worker": 99, "kind": "abort"},
        {"type": "fault-request", "worker": 0, "kind": 7},
        {"type": "reload-request"},
        {"type": "reload-request", "plan": {"name": 3}},
        {"type": "reload-request", "plan": [[[]]]},
        {"type": "done"},
        {"type": "done", "id": [1]},
        {"type": "done", "id": {}},
        {"type": "ps-request", "id": {"a": 1}},
        {"type": "hello", "pid": None},
        {"type": "ready"},
    ],
    ids=lambda message: json.dumps(message)[:50],
)
def test_a_wrong_request_harms_nobody(router: Any, message: dict[str, Any]) -> None:
    """Refused or ignored; the supervisor lives and answers."""
    router.tell(message)
    assert router.child("worker")["state"] == "ready"
    assert len(router.worker_pids()) == 2


def test_raw_rubbish_on_the_channel_harms_nobody(router: Any) -> None:
    """A child gone mad sends bytes that are no message: counted, logged, ignored."""
    for text in ("{", "[]", "[" * 3000, '{"v":9,"type":"x"}'):
        router.connect().send({"type": "raw", "text": text})
    router.logged("message.refused", 4)
    assert router.child("worker")["state"] == "ready"


def test_faults_are_for_teaching_only(make_router: MakeRouter) -> None:
    """Without --teach a fault request is refused."""
    router = make_router(1)
    router.write_plan(1, teach=False)
    router.start()
    router.tell({"type": "fault-request", "id": 3, "worker": 0, "kind": "abort"})
    answer = router.said("done")
    assert answer["id"] == 3
    assert "--teach" in answer["error"]
    assert router.child("worker")["restarts"] == 0


def test_hup_applies_a_valid_file(router: Any) -> None:
    """More workers are started with all ports; fewer are stopped, and their counters stay."""
    router.open_port(0)
    old = router.worker_pids()
    router.write_plan(4)
    router.process.send_signal(signal.SIGHUP)
    told = router.said("workers")
    while "bell:3" not in told["given"]:
        told = router.said("workers")
    assert told["given"] == ["bell:3", "stats:3"]
    router.logged("reload.done workers=4")
    router.until(
        "4 ready",
        lambda: (
            len([r for r in router.ps() if r["state"] == "ready" and r["role"] == "worker"]) == 4
        ),
    )
    assert router.worker_pids()[:2] == old
    assert rings(router.worker_pids()[3]) == ["ring-0-3"]
    router.write_plan(1)
    router.process.send_signal(signal.SIGHUP)
    router.logged("reload.done workers=1")
    router.until("1 worker", lambda: router.worker_pids() == old[:1])
    router.until("the sockets", lambda: rings(router.pid) == ["ring-0-0"])
    assert sorted(stats_inodes(router.pid)) == [router.names.stats(slot) for slot in range(4)]
    before = stats_inodes(router.pid)
    router.disconnect()
    router.crash()  # the counters of the three that are gone outlive the supervisor in control
    router.start()
    router.until("handed back", lambda: stats_inodes(router.pid) == before)
    assert router.stop() == 0
    assert router.leftovers() == []


def test_hup_with_an_invalid_file_changes_nothing(router: Any) -> None:
    """Refused as a whole, the reason in the log; the workers do not notice."""
    old = router.worker_pids()
    router.plan_file.write_text('{"name": "x", "workers": {"count": "many"}}')
    router.process.send_signal(signal.SIGHUP)
    router.logged("workers.count")
    router.plan_file.unlink()
    router.process.send_signal(signal.SIGHUP)
    router.logged("the old plan stays")
    router.logged("No such file")
    assert router.worker_pids() == old
    assert router.child("control")["restarts"] == 0


def test_control_may_ask_for_a_reload_and_may_refuse_one(router: Any) -> None:
    """reload-request goes round: supervisor's part is applied, control gets the plan."""
    plan = json.loads(router.plan_file.read_text())
    plan["routes"] = [{"dst": "10.0.0.0/8", "type": "blackhole"}]
    router.tell({"type": "reload-request", "plan": plan})
    assert router.said("reload")["plan"]["routes"] == plan["routes"]
    router.logged("reload.done")
    plan["router_id"] = "refused"
    router.tell({"type": "reload-request", "plan": plan})
    router.logged("reload.failed")


def test_usr1_writes_what_the_supervisor_knows(router: Any) -> None:
    """A dump in the run directory: processes, ports, objects."""
    router.open_port(2, "eth2", 8)
    router.process.send_signal(signal.SIGUSR1)
    path = router.names.supervisor_dump
    router.until("dump", path.exists)
    body = json.loads(path.read_text())
    assert [port["name"] for port in body["ports"]] == ["eth2"]
    assert {row["role"] for row in body["processes"]} >= {"supervisor", "control", "worker"}
    assert body["objects"]["queue_key"] == router.state()["queue_key"]
