"""Every command against a real router in a lab: text and JSON, right and wrong input, exit status.

The other tests of this folder talk to a fake and pin the words; here the words only have to hold
the fact, and what counts is that router and command understand each other.
"""

import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.lab.demo.demo import CONFIG
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.router import Router, wait_for
from ribcage.lab.topology.topologies import demo as demo_topology
from ribcage.shared.management import ManagementClient

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]
NAME = "cmdtest"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """The demo's network with its router, no table loaded."""
    folder: Path = tmp_path_factory.mktemp("real")
    with Lab() as lab:
        demo_topology(lab)
        router = Router(lab.nodes["r1"], CONFIG, NAME, folder, folder / "run")
        try:
            router.start()
            hop = [{"via": "10.0.2.2"}]
            for number in (1, 2):  # what the commands below find; each may run alone
                router.call("route.add", dst=f"198.19.{number}.0/24", type="blackhole")
                router.call("route.add", dst=f"203.1.{number}.0/24", nexthops=hop)
                router.call("route.add", dst="203.2.0.0/24", nexthops=hop, metric=number)
            yield router
        finally:
            router.kill_all()


@pytest.fixture
def run(
    real: Router, ribcage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """`ribcage -i cmdtest ...`, from outside the lab's namespaces as a user has it."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(real.run_base))
    monkeypatch.delenv("RIBCAGE_SOCKET", raising=False)
    monkeypatch.delenv("RIBCAGE_CONFIG", raising=False)
    return lambda *words: ribcage("-i", NAME, *words)


# (words, exit status, a piece of the text). {n} differs between the text and the JSON run.
ANSWERS = [
    ("ps", 0, "worker1"),
    ("ps --maps", 0, f"rw-s  ribcage.{NAME}.fib"),
    ("route show", 0, "C>* 10.0.1.0/24"),
    ("route show --family 6", 0, "S>* 2001:db8:3::/64"),
    ("route show 10.0.2.0/24 --source connected --limit 2", 0, "dev eth2"),
    ("route show 203.0.113.0/24", 0, ""),
    ("route get 10.0.3.2", 0, "via 10.0.2.2 dev eth2 src 10.0.2.1\n  match 10.0.3.0/24 (static)"),
    ("route get 2001:db8:3::9", 0, "via 2001:db8:2::2 dev eth2"),
    ("route get 10.0.1.1", 0, "own address"),
    ("route get 10.0.1.255", 0, "never forwarded"),
    ("route get 10.0.1.77", 0, "on-link"),
    ("route add 203.0.{n}.0/24 via 10.0.2.2", 0, "added; published as generation"),
    ("route add 203.1.{n}.0/24 via 10.0.2.3 --dry-run", 0, "would replace 203.1."),
    ("route add 198.18.{n}.0/24 via 10.0.2.10 weight 2 via 10.0.2.11 --wait published", 0, "added"),
    ("route add 198.20.{n}.0/24 blackhole --wait none", 0, "added"),
    ("route add 10.0.3.0/24 via 10.0.2.9 metric {n}", 0, "not in use"),
    ("route del 203.1.{n}.0/24", 0, "removed; published as generation"),
    ("explain 10.0.1.2 10.0.2.1 --in eth1", 0, "-> deliver"),
    ("explain 10.0.1.2 10.0.2.99 --in eth1", 0, "-> wait"),
    ("explain 10.0.1.2 198.19.{n}.1 --in eth1", 1, "-> blackhole"),
    ("explain 10.0.1.2 10.0.3.2 --in eth1 --ttl 1", 1, "ICMP time-exceeded to 10.0.1.2"),
    ("explain 2001:db8:1::2 2001:db8:99::1 --in eth1", 1, "ICMP no-route"),
    ("explain 127.0.0.1 10.0.3.2", 1, "-> bad-source"),
    ("fib show", 0, "strategy epoch"),
    ("fib show --memory", 0, "B a route"),
    ("fib verify --samples 1000 --seed 7", 0, "0 differences"),
    ("stats", 0, "rc-port"),
    ("stats --check", 0, "ok"),
    ("drops", 0, "balance: rx"),
    ("drops --for 0.1", 0, "since the start"),
    ("show route --limit 1", 0, "DESTINATION"),
    ("version --layouts", 0, "shared memory layouts: fib 0x"),
    ("help drop ttl-expired", 0, "RFC 1812 5.3.1"),
    ("help error E_NO_ROUTE", 0, "To do"),
    ("help route add", 0, "weight"),
    ("reload", 0, "takes the new configuration"),
]
# (words, exit status, code, a piece of the hint or message)
REFUSALS = [
    ("route get 192.0.2.1", 1, "E_NO_ROUTE", "ribcage route show"),
    ("route get 10.0.3", 2, "E110", "such as"),
    ("route add 203.0.113.1/24 via 10.0.2.2", 2, "E107", "did you mean"),
    ("route add 203.0.113.0/24 via 10.9.9.9", 2, "E_NEXTHOP", "connected: 10.0.1.0/24 (eth1)"),
    ("route add 203.0.113.0/24 via 10.0.2.1", 2, "E_NEXTHOP", "this router itself"),
    ("route add 203.0.113.0/24 via 10.0.2.255", 2, "E_NEXTHOP", "broadcast address of 10.0.2.0/24"),
    ("route add 203.0.113.0/24 dev eth9", 2, "E_INTERFACE", "ports: eth1, eth2"),
    ("route add 203.0.113.0/24", 2, "E_USAGE", "via ADDR"),
    ("route add 203.0.113.0/24 via 10.0.2.2 --wait soon", 2, "E_USAGE", "visible, published, none"),
    ("route del 203.0.113.0/24", 1, "E_NOT_FOUND", "nothing was changed"),
    ("route del 203.2.0.0/24", 2, "E_AMBIGUOUS", "metric"),
    ("route del 10.0.1.0/24", 1, "E_SOURCE", "nothing was changed"),
    ("route show 10.0.0.1/8", 2, "E107", "did you mean"),
    ("route show --source bgp9", 2, "E_TYPE", "static"),
    ("route load /nonexistent", 2, "E_USAGE", "there is no file"),
    ("explain 10.0.1.2 10.0.3.2 --in eth9", 2, "E_INTERFACE", "ports: eth1, eth2, rc-port"),
    ("explain 10.0.1.2 2001:db8::1", 2, "E115", "family"),
    ("fib verify --samples -1", 2, "E_USAGE", "--samples"),
    ("config check /nonexistent", 3, "E_CONFIG", "nothing was applied"),
    ("reload -c /nonexistent", 3, "E_CONFIG", "nothing was applied"),
    ("route shwo", 2, "E_USAGE", "show"),
    ("help drop nroute", 2, "E_USAGE", "no-route"),
]


@pytest.mark.parametrize(("words", "status", "text"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_a_command_answers_in_text_and_in_json(
    words: str, status: int, text: str, run: Callable[..., Any]
) -> None:
    """The same exit status in both; the text has the fact; -j is one document, -p indents it."""
    ran = run(*words.format(n=1).split())
    assert (ran.status, text in ran.out) == (status, True), ran
    assert "{'" not in ran.out and "None" not in ran.out, "a raw dump is no answer"
    asked = run("-j", *words.format(n=2).split())
    assert asked.status == status, asked
    assert asked.document["schema"] == 1 and "error" not in asked.document, asked


@pytest.mark.parametrize(
    ("words", "status", "code", "text"), REFUSALS, ids=[r[0] for r in REFUSALS]
)
def test_a_refusal_names_code_and_remedy(
    words: str, status: int, code: str, text: str, run: Callable[..., Any]
) -> None:
    """Nothing on stdout but the JSON document; the words say what to do; the status is ours."""
    ran = run(*words.split())
    assert (ran.status, ran.out) == (status, ""), ran
    assert text in ran.err, ran
    asked = run(*words.split(), "-jp")
    assert asked.status == status
    error = asked.document["error"]
    assert error["code"] == code, error
    assert "\n" in asked.out.strip(), "-p indents"


def test_a_table_loads_packed_and_a_bad_line_is_named(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    """.xz or plain; a mistake far behind the first chunk has its own line's number, and nothing
    of that file is in force; a second load of the same changes nothing."""
    lines = [f"{100 + i // 65536}.{i // 256 % 256}.{i % 256}.0/24 1" for i in range(6000)]
    packed = tmp_path / "a table.txt.xz"
    packed.write_bytes(lzma.compress("\n".join(lines).encode()))
    ran = run("route", "load", packed, "--via", "10.0.2.2")
    assert ran.status == 0 and ran.out.startswith("6,000 routes loaded"), ran
    before = run("-j", "fib", "show").document["published"]["generation"]
    again = run("-j", "route", "load", packed, "--via", "10.0.2.2").document
    assert again["generation"] == before and "visible_us" not in again
    bad = tmp_path / "bad.txt"
    bad.write_text(
        "\n".join(line.replace("100.", "101.") for line in [*lines, "101.99.99.99/24 1"])
    )
    ran = run("route", "load", bad, "--via", "10.0.2.2")
    assert ran.status == 2
    assert f"{bad}: line 6001: " in ran.err and "did you mean 101.99.99.0/24?" in ran.err
    assert run("route", "get", "101.0.0.1").status == 1
    shown = run("-j", "route", "show", "--source", "added", "100.0.0.0/8").document
    assert shown["count"] == len(shown["routes"]) == 6000
    ran = run("route", "show", "100.0.0.0/8")
    rows = ran.out.splitlines()[1:]
    assert len({line.index(" via ") for line in rows}) == 1, "columns are aligned"


def test_a_running_router_is_not_started_twice(real: Router, run: Callable[..., Any]) -> None:
    """Exit 8 with the pid, in both forms, before anything is touched."""
    config = real.folder / f"{NAME}.toml"
    for flags in ([], ["--daemon"]):
        ran = run("run", "-c", config, *flags)
        assert ran.status == 8 and f"stop it (ribcage -i {NAME} stop)" in ran.err
        assert run("-j", "run", "-c", config, *flags).document["error"]["code"] == "E_RUNNING"


def test_a_killed_worker_shows_in_ps(real: Router, run: Callable[..., Any]) -> None:
    """How the last one ended is in the JSON; the restart is counted in the text."""
    old = real.kill("worker", 1)
    wait_for("a new worker 1", lambda: real.pid("worker", 1) != old)
    real.wait_ready()
    document = run("-j", "ps").document
    worker = next(p for p in document["processes"] if (p["role"], p["index"]) == ("worker", 1))
    assert worker["restarts"] == 1 and "SIGKILL" in worker["last_exit"]
    assert run("stats", "--check").status == 0


def test_the_methods_are_all_within_reach(real: Router) -> None:
    """What the socket offers is what the table of methods says: a misspelt one is refused."""
    client = ManagementClient(real.names.control_socket)
    try:
        for method in ("system.version", "system.ping", "neighbour.list", "ipc.show"):
            json.dumps(client.call(method, {}), allow_nan=False)
    finally:
        client.close()


def test_stop_ends_it_and_then_every_command_says_so(real: Router, run: Callable[..., Any]) -> None:
    """The last test of this file. Exit 4, the socket's path and what to do, in both forms."""
    ran = run("stop")
    assert (ran.status, ran.out) == (0, f'router "{NAME}" has stopped\n')
    assert real.process is not None and real.process.wait(10) == 0
    asking = ["ps", "route show", "route get 10.0.0.1", "route add 10.9.0.0/16 dev eth1"]
    asking += ["route del 10.9.0.0/16", "explain 10.0.0.1", "fib show", "fib verify", "stats"]
    for words in [*asking, "drops", "stop"]:
        ran = run(*words.split())
        assert (ran.status, ran.out) == (4, ""), (words, ran)
        assert "ribcage run" in ran.err and str(real.names.control_socket) in ran.err
        assert run("-j", *words.split()).document["error"]["code"] == "E_NO_DAEMON"
    assert run("doctor").status in (0, 5)
