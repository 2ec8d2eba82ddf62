"""Each command as text, as JSON, and with bad input, against a fake router."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.answers import (
    CHANGE,
    DIFFERENT,
    DROPS,
    EXPLAINED,
    FIB,
    FIB_TEXT,
    FOUND,
    PROCESSES,
    ROUTES,
    STATS,
    VERIFIED,
)


def test_route_show_prints_one_line_a_route(router: Any, ribcage: Callable[..., Any]) -> None:
    """Under a header: flags as FRR has them, distance and metric, next hops with weights, how
    many workers use it, and how long it has been so."""
    since = int(time.monotonic()) - 65
    aged = {**ROUTES[0], "since": since}
    router.answers["route.list"] = {"routes": [aged, *ROUTES[1:]], "cursor": None}
    ran = ribcage("route", "show")
    assert ran.status == 0
    lines = [re.sub(r"00:01:0[5-9]", "00:01:05", line) for line in ran.out.splitlines()]
    assert lines == [
        "    DESTINATION         [D/M]   NEXT HOP                                WORKERS  AGE",
        "S>* 0.0.0.0/0           [1/10]  via 10.0.2.254 dev eth2                     2/2  00:01:05",
        "C>* 10.0.1.0/24         [0/0]   dev eth1                                    2/2",
        "S>* 198.51.100.0/24             via 10.0.2.10 weight 2 | via 10.0.2.11      2/2    stale",
        "A>q 203.0.113.0/24              blackhole                                   1/2",
        "K   192.0.2.0/24                via 10.9.9.9",
    ]


def test_ps_long_adds_when_how_busy_and_how_the_last_one_ended(router: Any, ribcage: Any) -> None:
    """Start as local time, CPU seconds, the letter of /proc and the last exit, per process."""
    a_minute = time.monotonic_ns() - 60 * 10**9
    supervisor, worker = PROCESSES["processes"]
    rows = [{**supervisor, "started_ns": a_minute}, worker]
    router.answers["process.list"] = {"processes": rows}
    header, first, second = ribcage("ps", "--long").out.splitlines()
    expected = "BUILD SECCOMP RSS FDS STARTED CPU STAT LAST EXIT IF IT DIES"
    assert header.split("RESTARTS")[1].split() == expected.split()
    started = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", first)
    assert started is not None
    seconds = time.mktime(time.strptime(started[0], "%Y-%m-%d %H:%M:%S"))
    assert abs(time.time() - 60 - seconds) < 10
    assert re.search(r"1\.2s +S +- +all go on", first), first
    assert re.search(r"- +- +- +killed by signal 9 \(SIGKILL\) +its flows wait", second), second


def test_route_show_follows_the_cursor_to_the_end(router: Any, ribcage: Any) -> None:
    """All pages, as one JSON document; never more rows asked at once than the router gives."""
    pages = {None: ("a", ROUTES[:2]), "a": ("b", ROUTES[2:4]), "b": (None, ROUTES[4:])}

    def listing(params: dict[str, Any]) -> dict[str, Any]:
        assert params["limit"] <= 4096
        cursor, rows = pages[params.get("cursor")]
        return {"routes": rows, "cursor": cursor}

    router.answers["route.list"] = listing
    document = ribcage("-j", "route", "show").document
    assert document == {"schema": 1, "routes": ROUTES, "count": 5}
    assert len(ribcage("route", "show", "--limit", 3).out.splitlines()) == 1 + 3


def test_an_error_after_the_first_page_leaves_one_valid_document(router: Any, ribcage: Any) -> None:
    """The list that was begun is closed, with the error beside it."""

    def listing(params: dict[str, Any]) -> dict[str, Any]:
        if "cursor" in params:
            raise ConnectionAbortedError
        return {"routes": ROUTES[:1], "cursor": "a"}

    router.answers["route.list"] = listing
    ran = ribcage("-j", "--timeout", "0.5", "route", "show")
    assert ran.document["routes"] == ROUTES[:1]
    assert ran.document["error"]["code"] == "E_NO_DAEMON"
    assert ran.status == 4


TEXTS = [
    (["route", "get", "198.51.100.7"], "route.get", FOUND, 0,
     "198.51.100.7 via 10.0.2.11 dev eth2 src 10.0.1.1\n  match 198.51.100.0/24"
     "  ecmp 1/2 (hash 0x5c)  generation 42\n  worker1 still answers from generation 38\n"),
    (["route", "add", "203.0.113.0/24", "via", "10.0.2.9"], "route.add", CHANGE, 0,
     "added; published as generation 43 in 12 us, used by 2/2 workers after 38.4 us\n"),
    (["route", "add", "203.0.113.0/24", "via", "10.0.2.9", "--dry-run"], "route.add", CHANGE, 0,
     "would add 203.0.113.0/24; nothing was changed\n"),
    (["route", "del", "203.0.113.0/24"], "route.del", CHANGE, 0,
     "removed; published as generation 43 in 12 us, used by 2/2 workers after 38.4 us\n"),
    (["ps", "--maps"], "process.list", PROCESSES, 0,
     "ROLE         PID    UID  CAPS               STATE  RESTARTS  IF IT DIES\n"
     "supervisor  2100      0  NET_ADMIN,NET_RAW  ready         0  all go on\n"
     "worker1     2105  61003  -                  ready         2  its flows wait\n"
     "\nsupervisor maps nothing shared\n"
     "\nworker1 maps\n  r-    /ribcage.r1.fib\n"),
    (["explain", "10.0.1.2", "198.51.100.7", "--in", "eth1", "--ttl", "1"], "explain", EXPLAINED, 1,
     " 1 parse     ok           IPv4, 28 bytes\n"
     " 2 ttl       DROP         ttl 1 would become 0\n"
     " -> ttl-expired; ICMP time-exceeded to 10.0.1.2 (unless over the limit)\n"),
    (["drops"], "drops.show", DROPS, 0,
     "REASON        WORKER0  WORKER1  TOTAL  EXAMPLE\n"
     "no-route          118      122    240  10.0.1.2 > 192.0.2.77\n"
     "rx-ring-full        0       31     31  (not kept)\n"
     "balance: rx 1204411 = forwarded 1204140 + delivered 0 + dropped 271 + waiting 0   ok\n"),
    (["stats", "--check"], "stats.show", STATS, 0,
     "WORKER   RX  FORWARDED  DELIVERED  DROPPED  WAITING\n"
     "worker0  10          7          1        2        0\n"
     "total    10          7          1        2        0\n"
     "\n"
     "PORT  LINK  IN  IN-BYTES  OUT  OUT-BYTES  RING-DROPS\n"
     "eth1  up    10     900 B    7      600 B           0\n"
     "\n"
     "balance: rx = forwarded + delivered + dropped + waiting   ok\n"),
    (["stats", "--check"], "stats.show", {**STATS, "balanced": False, "ports": {}}, 1,
     "WORKER   RX  FORWARDED  DELIVERED  DROPPED  WAITING\n"
     "worker0  10          7          1        2        0\n"
     "total    10          7          1        2        0\n"
     "balance: rx = forwarded + delivered + dropped + waiting   NOT BALANCED\n"),
    (["fib", "verify", "--samples", "100", "--seed", "7"], "fib.verify", VERIFIED, 0,
     "RIB 5, FIB 4 IPv4 and 1 IPv6 (100 random lookups, seed 7): 0 differences in 500 ms\n"),
    (["fib", "verify", "--samples", "0"], "fib.verify", DIFFERENT, 1,
     "RIB 5, FIB 4 IPv4 and 1 IPv6 (0 random lookups, seed 1): 1 difference in 500 ms\n"
     "  prefix 198.51.100.0/24  rib 10.0.2.10  fib -\n"),
    (["fib", "show"], "fib.show", FIB, 0,
     FIB_TEXT),
    (["stop", "--no-wait"], "system.stop", {}, 0, "stopping\n"),
]  # fmt: skip
IDS = [" ".join(case[0]) + f" {case[3]}" for case in TEXTS]


@pytest.mark.parametrize(("words", "method", "answer", "status", "text"), TEXTS, ids=IDS)
def test_an_answer_as_text(
    words: list[str], method: str, answer: Any, status: int, text: str, router: Any, ribcage: Any
) -> None:
    """What people read, to the letter, and the exit status."""
    router.answers[method] = answer
    ran = ribcage(*words)
    assert (ran.status, ran.out, ran.err) == (status, text, "")
    assert method in router.methods()


def test_aggregation_is_shown_where_it_is_on(router: Any, ribcage: Any) -> None:
    """Entries before and after in `fib show`; a route without an entry of its own is in force."""
    aggregation = {"state": "on", "routes4": 900, "entries4": 600, "routes6": 0, "entries6": 0,
                   "private_bytes": 2048}  # fmt: skip
    router.answers["fib.show"] = {**FIB, "aggregation": aggregation}
    line = next(x for x in ribcage("fib", "show").out.splitlines() if x.startswith("aggregate"))
    assert line.split("   ")[0] == "aggregate  IPv4 900 routes in 600 entries (33.3 % fewer)"
    router.answers["fib.show"] = {**FIB, "aggregation": {**aggregation, "state": "off"}}
    assert "aggregate" not in ribcage("fib", "show").out
    hidden = {**ROUTES[0], "in_fib": False, "aggregated": True}
    router.answers["route.list"] = {"routes": [hidden], "cursor": None}
    assert ribcage("route", "show").out.splitlines()[1].startswith("S>a 0.0.0.0/0")
    router.answers["route.get"] = {**FOUND, "prefix": "198.51.0.0/16", "route": "198.51.100.0/24"}
    assert "match 198.51.100.0/24 by entry 198.51.0.0/16" in ribcage(
        "route", "get", "198.51.100.7"
    ).out  # fmt: skip


def test_memory_alone_says_what_a_route_costs(router: Any, ribcage: Any) -> None:
    """--memory is a line a part, and -j then holds only what they were made of."""
    router.answers["fib.show"] = FIB
    assert ribcage("fib", "show", "--memory").out.splitlines()[1:] == [
        "FIB    live     6.0 MiB  1,001 routes, 6,285 B a route",
        "FIB    retired    256 B  at most 40.6 MiB",
        "FIB    free     1.0 GiB",
        "FIB    segment  2.0 GiB",
        "RIB    segment  7.0 MiB  1,003 rows",
        "RIB    private  1.0 KiB",
    ]
    document = ribcage("-j", "fib", "show", "--memory").document
    assert set(document) == {"schema", "published", "memory", "segment", "rib"}


@pytest.mark.parametrize(("words", "method", "answer", "status", "text"), TEXTS, ids=IDS)
def test_an_answer_as_json(
    words: list[str], method: str, answer: Any, status: int, text: str, router: Any, ribcage: Any
) -> None:
    """-j, even after the verb, gives the router's whole answer with the schema number."""
    router.answers[method] = answer
    for ran in (ribcage("-j", *words), ribcage(*words, "--json", "-p")):
        assert ran.status == status
        assert ran.document["schema"] == 1
        assert {**answer, **ran.document} == ran.document


PARAMS = [
    (["route", "add", "198.51.100.0/24", "via", "10.0.2.10", "weight", "2", "via", "10.0.2.11",
      "dev", "eth2", "metric", "5", "distance", "9", "--wait", "none"],
     {"dst": "198.51.100.0/24", "type": "forward", "metric": 5, "distance": 9, "wait": "none",
      "nexthops": [{"via": "10.0.2.10", "weight": 2}, {"via": "10.0.2.11", "dev": "eth2"}]}),
    (["route", "add", "blackhole", "203.0.113.0/24"],
     {"dst": "203.0.113.0/24", "type": "blackhole", "metric": 0, "nexthops": [],
      "wait": "visible"}),
    (["route", "add", "2001:DB8::/32", "via", "fe80::1", "dev", "eth1"],
     {"dst": "2001:db8::/32", "type": "forward", "metric": 0, "wait": "visible",
      "nexthops": [{"via": "fe80::1", "dev": "eth1"}]}),
    (["route", "add", "default", "dev", "eth1"],
     {"dst": "0.0.0.0/0", "type": "forward", "metric": 0, "wait": "visible",
      "nexthops": [{"dev": "eth1"}]}),
    (["route", "del", "192.0.2.9", "via", "10.0.2.9", "metric", "3", "--dry-run"],
     {"dst": "192.0.2.9/32", "via": "10.0.2.9", "metric": 3, "wait": "visible", "dry_run": True}),
    (["explain", "198.51.100.7", "--df", "--length", "1500"],
     {"dst": "198.51.100.7", "df": True, "length": 1500}),
    (["explain", "10.0.1.2", "198.51.100.7", "--protocol", "udp", "--sport", "4000",
      "--dport", "53"],
     {"dst": "198.51.100.7", "source": "10.0.1.2", "df": True, "protocol": "udp",
      "source_port": 4000, "target_port": 53}),
    (["explain", "198.51.100.7", "--protocol", "47", "--in", "eth1"],
     {"dst": "198.51.100.7", "df": True, "protocol": 47, "in": "eth1"}),
    (["explain", "198.51.100.7", "--protocol", "tcp", "--length", "9000", "--gso", "1448"],
     {"dst": "198.51.100.7", "df": True, "protocol": "tcp", "length": 9000, "gso": 1448}),
    (["explain", "--frame", "020000000001", "--in", "eth1"],
     {"frame": "020000000001", "df": True, "in": "eth1"}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "params"), PARAMS, ids=[" ".join(c[0]) for c in PARAMS])
def test_words_become_parameters(words: list[str], params: Any, router: Any, ribcage: Any) -> None:
    """The grammar of routes, as the router is asked."""
    ribcage(*words)
    assert [given for _, given in router.asked] == [params]


BAD = [
    (["route", "show", "10.0.0.1/8"], "E107"),
    (["route", "show", "--family", "5"], "E_USAGE"),
    (["route", "get", "10.0.0.0/8"], "E110"),
    (["route", "get", "nowhere"], "E110"),
    (["route", "add", "203.0.113.1/24", "via", "10.0.2.9"], "E107"),
    (["route", "add", "203.0.113.0/24"], "E_USAGE"),
    (["route", "add", "203.0.113.0/24", "via"], "E_USAGE"),
    (["route", "add", "203.0.113.0/24", "vai", "10.0.2.9"], "E_USAGE"),
    (["route", "add", "203.0.113.0/24", "via", "10.0.2.9", "metric", "-1"], "E104"),
    (["route", "add", "203.0.113.0/24", "via", "10.0.2.9", "metric", "x"], "E102"),
    (["route", "add", "203.0.113.0/24", "via", "10.0.2.9", "weight", "900"], "E104"),
    (["route", "add", "203.0.113.0/24", "via", "127.0.0.1"], "E112"),
    (["route", "add", "203.0.113.0/24", "via", "2001:db8::1"], "E115"),
    (["route", "add", "2001:db8::/32", "via", "fe80::1"], "E111"),
    (["route", "add", "203.0.113.0/24", "blackhole", "via", "10.0.2.9"], "E_USAGE"),
    (["route", "add", "203.0.113.0/24", "via", "10.0.2.9", "--wait", "soon"], "E_USAGE"),
    (["route", "del", "203.0.113.0/24", "weight", "2"], "E_USAGE"),
    (["route", "load", "/nonexistent/table"], "E_USAGE"),
    (["explain", "10.0.1.2", "2001:db8::1"], "E115"),
    (["explain", "1.2.3.4", "1.2.3.5", "1.2.3.6"], "E_USAGE"),
    (["explain", "10.0.1.2", "--ttl", "256"], "E_USAGE"),
    (["explain"], "E_USAGE"),
    (["explain", "10.0.1.2", "--frame", "02"], "E_USAGE"),
    (["explain", "10.0.1.2", "--dport", "65536"], "E_USAGE"),
    (["fib", "verify", "--samples", "-1"], "E_USAGE"),
    (["drops", "--for", "x"], "E_USAGE"),
    (["stats", "extra"], "E_USAGE"),
    (["ps", "--mpas"], "E_USAGE"),
    (["stop", "now"], "E_USAGE"),
    (["doctor", "--confg"], "E_USAGE"),
    (["version", "extra"], "E_USAGE"),
    (["help", "drop", "no-such"], "E_USAGE"),
    (["help", "nothing"], "E_USAGE"),
    (["run", "--log-file", "x"], "E_USAGE"),
    (["config", "chekc"], "E_USAGE"),
    (["rout", "show"], "E_USAGE"),
    ([], "E_USAGE"),
    (["-i", "../x", "route", "show"], "E_INSTANCE"),
    (["--color", "blue", "version"], "E_USAGE"),
    (["--timeout", "0", "version"], "E_USAGE"),
    (["version", "--socket"], "E_USAGE"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code"), BAD, ids=[" ".join(case[0]) for case in BAD])
def test_a_line_that_cannot_be_obeyed_is_exit_2(
    words: list[str], code: str, router: Any, ribcage: Any
) -> None:
    """A named error on stderr, or one JSON document; the router is not asked."""
    ran = ribcage(*words)
    assert (ran.status, ran.out) == (2, "")
    assert "Traceback" not in ran.err
    assert (f"error[{code}]: " in ran.err) or not words
    ran = ribcage("-j", *words)
    assert ran.status == 2
    assert ran.document["schema"] == 1
    assert ran.document["error"]["code"] == code
    assert ran.document["error"]["message"]
    assert router.asked == []


def test_misspelt_words_are_met_with_the_right_ones(ribcage: Any) -> None:
    """Commands, verbs, words of a route, options and reasons: did you mean ...?"""
    assert "route" in ribcage("rout", "show").err
    assert "check" in ribcage("config", "chekc").err
    assert "did you mean via?" in ribcage("route", "add", "10.0.0.0/8", "vai", "10.0.0.1").err
    assert "--maps" in ribcage("ps", "--mpas").err
    assert "did you mean no-route?" in ribcage("help", "drop", "noroute").err
    assert 'did you mean "10.0.0.0/8"?' in ribcage("route", "show", "10.0.0.1/8").err


def test_show_in_front_means_the_same(router: Any, ribcage: Any) -> None:
    """`show route` is `route show`."""
    router.answers["route.list"] = {"routes": ROUTES, "cursor": None}
    assert ribcage("show", "route").out == ribcage("route", "show").out


def test_drops_for_a_while_counts_that_while(router: Any, ribcage: Any) -> None:
    """--for takes two samples and shows their difference with a rate."""
    samples = [
        {"reasons": [{"reason": "no-route", "total": 5, "per_worker": [5]}]},
        {"reasons": [{"reason": "no-route", "total": 8, "per_worker": [8]}]},
    ]
    router.answers["drops.show"] = lambda params: samples.pop(0)
    document = ribcage("-j", "drops", "--for", "0.1").document
    (reason,) = document["reasons"]
    assert (reason["reason"], reason["total"], reason["per_worker"]) == ("no-route", 3, [3])
    assert reason["rate"] == pytest.approx(3 / document["seconds"], rel=0.02)
    assert 0.1 <= document["seconds"] < 10


def test_every_command_helps_with_two_examples_first(ribcage: Any) -> None:
    """--help and `help` open with two lines to copy; under -j they are a document."""
    commands = ["run", "stop", "reload", "ps", "explain", "stats", "drops", "doctor", "version",
                "help", "route", "route show", "route get", "route add", "route del", "route load",
                "fib", "fib show", "fib verify", "config", "config check",
                "config compile"]  # fmt: skip
    for command in commands:
        ran = ribcage(*command.split(), "--help")
        lines = [line.strip() for line in ran.out.splitlines() if line.strip()]
        assert ran.status == 0
        assert lines[1] == "Examples:", command
        assert lines[2].startswith("ribcage "), command
        assert lines[3].startswith("ribcage "), command
        assert "\b" not in ran.out
        asked = ribcage("-j", *command.split(), "--help").document
        assert asked["help"].startswith("Usage: ribcage")
        told = ribcage("help", *command.split()).out if command != "help" else ran.out
        assert "Examples:" in told


def test_colour_only_where_it_is_wanted(router: Any, ribcage: Any, monkeypatch: Any) -> None:
    """Never into a pipe, not with NO_COLOR, always when asked for."""
    router.answers["stats.show"] = STATS
    assert "\x1b" not in ribcage("stats").out
    assert "\x1b[32mok\x1b[0m" in ribcage("--color", "always", "stats").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in ribcage("stats", "--color", "auto").out


def test_what_a_router_sends_does_not_reach_the_terminal_raw(router: Any, ribcage: Any) -> None:
    """Control sequences in names and messages are shown as question marks."""
    row = {**ROUTES[0], "nexthops": [{"via": "x\x1b]0;owned\x07", "dev": "a\rb"}]}
    router.answers["route.list"] = {"routes": [row], "cursor": None}
    out = ribcage("route", "show").out
    assert "\x1b" not in out
    assert "\r" not in out
    assert "\x07" not in out
