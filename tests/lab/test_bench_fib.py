"""`ribcage bench fib` on two thousand routes: what it answers, and when it refuses to."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ribcage.shared._core import ffi

from ribcage.cli.main import main
from ribcage.lab.bench.fib import report
from ribcage.lab.bench.fib.build import build, dpdk_missing
from ribcage.lab.bench.fib.contestants import choose, params_file
from ribcage.lab.bench.fib.measure import BenchPlan, Measurement
from ribcage.lab.bench.fib.program import Program
from ribcage.lab.bench.fib.run import BenchRequest, run
from ribcage.lab.bench.fib.streams import STREAMS, make_pairs, make_streams
from ribcage.lab.bench.fib.table import Rows, load_table
from ribcage.lab.bench.fib.updates import synthetic_updates
from ribcage.lab.tables import synthetic
from ribcage.lab.topology.router import wait_for
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_engines import engines
from ribcage.shared.memory.fib_sync import STRATEGIES, WITH_LOCK

ADDRESSES = 1 << 14
PLAN = replace(
    BenchPlan.of(True, 1, 1),
    turns=2,
    pairs=500,
    loads=1,
    visible=200,
    blocks=16,
    block_ms=10,
    takeovers=2,
    binding=50,
)
EDGES = {
    4: ["0.0.0.0/0 9", "10.0.0.0/8 1", "10.0.0.0/24 2", "10.0.0.7/32 3", "10.255.255.255/32 4"],
    6: ["::/0 9", "2001:db8::/32 1", "2001:db8::/64 2", "2001:db8::7/128 3", "2001:db8::/127 4"],
}


def table_file(folder: Path, family: int, routes: int = 2000) -> Path:
    path = folder / f"table{family}"
    path.write_text("\n".join([*synthetic(family, routes, seed=2).lines, *EDGES[family]]) + "\n")
    return path


def request(path: Path, family: int, **more: Any) -> BenchRequest:
    return BenchRequest(family=family, table=path, addresses=ADDRESSES, plan=PLAN, **more)


def cli(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    capfd.readouterr()
    status = main(["-jq", "bench", "fib", *map(str, words)])
    return status, json.loads(capfd.readouterr().out)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = table_file(tmp_path_factory.mktemp("bench"), 4)
    return run(request(path, 4, engines=list(engines(4))), lambda step: None)


# In IPv6 one of each kind: the segment alone, a lock in it, two tables, a replica.
NAMED = {4: list(STRATEGIES), 6: ["epoch", "double", "mutex", "message"]}


@pytest.mark.parametrize("family", [4, 6])
def test_every_strategy_is_measured(tmp_path: Path, family: int) -> None:
    """All eight side by side answer alike and have every figure; where readers wait, the clock on
    the wall is theirs; two tables count twice, and a replica is somebody's, too."""
    named = NAMED[family]
    wanted = request(table_file(tmp_path, family), family, strategies=named, teach=True)
    found = run(wanted, lambda step: None)
    assert found["void"] is None
    by_name = {c["strategy"]: c for c in found["contestants"].values()}
    assert list(by_name) == named
    for name, figures in by_name.items():
        assert figures["visible_us"]["p50"] > 0
        assert figures["takeover_seconds"]["median"] > 0
        assert figures["reader_slowdown"]["clock"] == ("wall" if name in WITH_LOCK else "cpu")
        memory = figures["memory_bytes"]
        assert (memory["each_reader"] > 0) == (name == "message")
        twice = memory["used"] > 1.6 * by_name["epoch"]["memory_bytes"]["used"]
        assert twice == (name in ("double", "message")), memory


def test_the_summary_holds_every_figure(document: dict[str, Any]) -> None:
    """The keys by which the project is measured, each a number where it was measured."""
    summary = document["summary"]
    assert set(summary["lookup_ratio"]) == {"uniform", "prefix", "zipf"}
    assert set(summary["update_ratio"]) == {"pairs", "stream"}
    assert set(summary["visible_us"]) == {"c_p50", "c_p99", "binding_p50"}
    assert summary["checksums_agree"] is True
    assert summary["memory_bytes"] > 2000 * 8
    assert summary["load_seconds"] > 0
    assert summary["takeover_seconds"] > 0
    if len(os.sched_getaffinity(0)) > 1:
        assert all(value > 0 for value in summary["visible_us"].values())
        assert -20 < summary["reader_slowdown"] < 1
    assert summary["lookup_ratio"]["prefix"] is None  # against nobody


def test_every_repetition_and_the_machine_are_in_the_document(document: dict[str, Any]) -> None:
    """What it takes to assess the figures: raw values, seed, table, pinning, command line."""
    assert set(document["contestants"]) == {f"{name}/epoch" for name in engines(4)}
    for figures in document["contestants"].values():
        for stream in STREAMS:
            for mode in ("batch", "single"):
                found = figures["lookups_per_second"][stream][mode]
                assert found["min"] <= found["median"] <= found["max"]
                assert len(found["raw"]) == document["settings"]["turns"]
        assert figures["memory_bytes"]["used"] >= figures["memory_bytes"]["live"]
    assert {"cpu", "cpus", "kernel", "pinned", "load_before", "steal"} <= set(document["machine"])
    assert (document["settings"]["seed"], document["table"]["routes"]) == (1, 2005)
    assert document["command"]
    json.dumps(document)


def test_nothing_is_left_behind(document: dict[str, Any]) -> None:
    """Segments and semaphores of the binding's measurement are gone."""
    assert document["void"] is None
    left = [p.name for p in Path("/dev/shm").iterdir() if f"bench-{os.getpid()}" in p.name]
    assert left == []


def test_csv_and_text_say_what_the_document_says(document: dict[str, Any]) -> None:
    """One CSV row a repetition; the text names each contestant once."""
    rows = [line.split(",") for line in report.to_csv(document).splitlines()]
    assert rows[0] == ["contestant", "metric", "repetition", "value"]
    name = next(iter(document["contestants"]))
    raw = document["contestants"][name]["updates_per_second"]["stream"]["raw"]
    found = [row[3] for row in rows if row[:2] == [name, "updates_per_second.stream"]]
    assert found == [str(value) for value in raw]
    text = "\n".join(report.to_text(document))
    assert "checksums agree: yes" in text
    assert all(name in text for name in document["contestants"])


def test_ipv6_is_measured_too(tmp_path: Path) -> None:
    """The default engine against the plain one, prefixes to /128, without AVX-512."""
    asked = request(table_file(tmp_path, 6), 6, engines=list(engines(6)), portable=True)
    document = run(asked, lambda step: None)
    assert document["summary"]["checksums_agree"] is True
    assert document["settings"]["portable"] is True


def a_folder(folder: Path, table: Rows) -> None:
    folder.mkdir()
    (folder / "rows.bin").write_bytes(table.to_bytes())
    (folder / "updates.bin").write_bytes(synthetic_updates(table, 1).to_bytes())
    (folder / "pairs.bin").write_bytes(make_pairs(table, 1))


def test_two_contestants_that_disagree_void_the_run(tmp_path: Path) -> None:
    """One next hop of one route differs in one of them: nothing that was measured counts."""
    table = load_table(4, table_file(tmp_path, 4))
    streams = make_streams(table, 1, ADDRESSES)
    one = choose(4, [], [])[0]
    for name in ("right", "wrong"):
        a_folder(tmp_path / name, table)
        for i, stream in enumerate(STREAMS):
            (tmp_path / name / f"stream-{i}.bin").write_bytes(streams[stream])
        params = one.params(table, None)
        (tmp_path / name / params_file(one)).write_bytes(bytes(ffi.buffer(params)))
        table.rows[100].nexthop = table.rows[100].nexthop % 254 + 1
    line = [str(build("ribcage_fib")), "4"]
    with (
        Program("right", [*line, str(tmp_path / "right"), params_file(one), "0"]) as right,
        Program("wrong", [*line, str(tmp_path / "wrong"), params_file(one), "0"]) as wrong,
    ):
        programs = {"right": right, "wrong": wrong}
        results = Measurement(
            programs, ["right", "wrong"], [], PLAN, None, False, lambda step: None
        ).run()
    assert results.disagreement is not None
    assert "next hops differ on stream" in results.disagreement
    summary = report.summary(results, "right", "wrong", [])
    assert summary["checksums_agree"] is False
    assert set(summary["lookup_ratio"].values()) == {None}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the reader needs a CPU of its own")
def test_a_reader_that_stood_still_leaves_no_block_without_a_figure(tmp_path: Path) -> None:
    """Its CPU is taken away for the time of many blocks: a block lasts until the reader has
    answered in it, so there is a slowdown to report all the same."""
    table = load_table(4, table_file(tmp_path, 4))
    streams = make_streams(table, 1, ADDRESSES)
    one = choose(4, [], [])[0]
    folder = tmp_path / "one"
    a_folder(folder, table)
    for i, stream in enumerate(STREAMS):
        (folder / f"stream-{i}.bin").write_bytes(streams[stream])
    (folder / params_file(one)).write_bytes(bytes(ffi.buffer(one.params(table, None))))
    line = [str(build("ribcage_fib")), "4", str(folder), params_file(one), "0"]
    with Program("one", line) as program:
        Measurement({"one": program}, ["one"], [], PLAN, None, False, lambda step: None).run()
        program.tell("slowdown", max(os.sched_getaffinity(0)), 16, 50, 1000)
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        reader = wait_for(
            "its reader", lambda: [int(word) for word in children.read_text().split()]
        )
        os.kill(reader[0], signal.SIGSTOP)
        time.sleep(0.3)  # six blocks' time
        os.kill(reader[0], signal.SIGCONT)
        answer = program.hear()
    assert len(answer["idle"]) == len(answer["busy"]) == 8
    assert all(answer["idle"]) and all(answer["busy"]), answer
    assert report.slowdown(answer) is not None


def test_a_void_run_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The document still says what differed."""
    void = {"void": "next hops differ", "summary": {"checksums_agree": False}}
    monkeypatch.setattr("ribcage.lab.bench.fib.run.run", lambda request, progress: void)
    status, document = cli(capfd)
    assert (status, document["void"]) == (1, "next hops differ")


def test_a_contestant_that_dies_is_named(tmp_path: Path) -> None:
    """With what it said last; never a hang."""
    with Program("sh", ["sh", "-c", "echo out of memory >&2; read line; exit 3"]) as program:
        with pytest.raises(RibcageError) as caught:
            program.ask("load")
        assert (caught.value.code, caught.value.message) == ("E_CONTESTANT", "sh: ended")
        assert caught.value.hint == "out of memory"


def test_a_contestant_that_is_stuck_is_given_up(tmp_path: Path) -> None:
    with Program("cat", ["sleep", "60"]) as program, pytest.raises(RibcageError, match="in time"):
        program.ask("load", patience=0.1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--engine", "quick"], "E_ENGINE", list(engines(4))),
        (["--strategy", "epcoh"], "E_STRATEGY", list(STRATEGIES)),
        (["--against", "vpp"], "E_PEER", ["dpdk", "pytricia", "py-radix"]),
        (["--table", "/nowhere/table.xz"], "E_NO_FILE", []),
        (["--updates", "/nowhere/updates.xz"], "E_NO_FILE", []),
        (["--family", "5"], "E_USAGE", []),
        (["--csv"], "E_USAGE", []),
    ],
)
def test_a_wrong_word_is_refused_with_what_there_is(
    capfd: pytest.CaptureFixture[str], words: list[str], code: str, said: list[str]
) -> None:
    """Exit 2, the error's name, and the list of what would have been right."""
    status, document = cli(capfd, *words)
    assert (status, document["error"]["code"]) == (2, code)
    assert all(word in document["error"]["hint"] for word in said)


def test_a_bad_table_is_refused_with_its_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table"
    path.write_text("10.0.0.0/8 1\n10.0.0.0/8 2\n")
    status, document = cli(capfd, "--table", path)
    assert (status, document["error"]["code"]) == (2, "E_TABLE")
    assert "line 2 has 10.0.0.0/8 again; first in line 1" in document["error"]["message"]


def test_without_dpdk_the_apt_line_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit 5: what is missing is the machine's, and the hint is what to type."""
    monkeypatch.setenv("PATH", str(tmp_path))
    status, document = cli(capfd, "--against", "dpdk")
    assert (status, document["error"]["code"]) == (5, "E_NO_DPDK")
    assert "apt-get install -y libdpdk-dev" in document["error"]["hint"]


def test_a_python_peer_that_is_not_installed_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, document = cli(capfd, "--against", "pytricia")
    assert (status, document["error"]["code"]) == (5, "E_NO_PEER")
    assert "pip install pytricia" in document["error"]["hint"]


@pytest.mark.skipif(dpdk_missing() is not None, reason="libdpdk-dev is not installed")
@pytest.mark.parametrize("family", [4, 6])
def test_dpdk_agrees_and_ratios_are_there(tmp_path: Path, family: int) -> None:
    """Default routes and host routes included, before, during and after the updates."""
    asked = request(table_file(tmp_path, family), family, against=["dpdk"])
    summary = run(asked, lambda step: None)["summary"]
    assert summary["checksums_agree"] is True
    ratios = [*summary["lookup_ratio"].values(), *summary["update_ratio"].values()]
    assert all(ratio > 0 for ratio in ratios)


@pytest.mark.parametrize("peer", ["pytricia", "py-radix"])
def test_a_python_trie_agrees(tmp_path: Path, peer: str, needs: Callable[[str], None]) -> None:
    needs({"pytricia": "pytricia", "py-radix": "radix"}[peer])
    asked = request(table_file(tmp_path, 4, 500), 4, against=[peer])
    assert run(asked, lambda step: None)["summary"]["checksums_agree"] is True


@pytest.fixture
def needs() -> Callable[[str], None]:
    """Skips when a module is not installed."""
    return lambda name: (pytest.importorskip(name), None)[1]
