"""What a person sees at 80 columns, and what a program gets from a pipe: nothing is ever cut."""

from typing import Any

import pytest

from tests.cli.answers import DROPS, EXPLAINED, FIB, FOUND, PROCESSES, STATS
from tests.cli.terminal import on_a_terminal

SENTENCE = "forwarding goes on; updates stop until the standby took over"
LONG_PROCESSES = {"processes": [
    {**PROCESSES["processes"][0], "role": "control", "caps": ["CHOWN", "NET_ADMIN", "NET_RAW"],
     "if_it_dies": SENTENCE, "pid": 4194304},
    {**PROCESSES["processes"][1], "if_it_dies": "the others go on; its flows resume with its "
     "successor"},
]}  # fmt: skip
BIG = 123_456_789_012_345
MANY_WORKERS = {
    "reasons": [{"reason": "no-route", "total": BIG, "per_worker": [BIG] * 16,
                 "example": "2001:db8:1:2:3:4:5:6 > 2001:db8:ffff:2:3:4:5:6 icmp6 from eth1"}],
    "balance": {"rx": BIG, "forwarded": BIG, "delivered": BIG, "dropped": BIG, "held": BIG,
                "balanced": True},
}  # fmt: skip
HUGE = {name: BIG for name in ("rx", "forwarded", "delivered", "held")} | {"drops": {"x": BIG}}
HUGE_STATS = {"workers": [{"worker": 0, **HUGE}], "totals": HUGE, "balanced": True, "ports": [
    {"name": "eth1", "up": True, "rx": BIG, "rx_bytes": BIG, "tx": BIG, "tx_bytes": BIG,
     "ring_drops": BIG}]}  # fmt: skip
BIG_VERIFIED = {"rib": 10**6, "fib4": 10**6, "fib6": 10**6, "differences": [], "count": 0,
                "seconds": 1.5}  # fmt: skip
LONG_STAGE = {**EXPLAINED, "stages": [{"stage": "lookup", "verdict": "ok", "detail": "a " * 90}]}
SIX = {"dst": "2001:db8:ffff:1:2:3:4:5/128", "protocol": "neighbour", "distance": 254, "metric": 0,
       "nexthops": [{"via": "2001:db8:ffff:1:2:3:4:5", "dev": "enp3s0f1", "weight": 9}] * 2,
       "selected": True, "in_fib": True, "since": 1, "workers": {"seen": 64, "of": 64}}  # fmt: skip
REJECTED = {"dst": "198.51.100.0/24", "protocol": "static", "rejected": "next hop 10.9.9.9 is on "
            "no connected network; connected are 10.0.1.0/24 and 10.0.2.0/24"}  # fmt: skip
SCREENS = [
    (["ps"], "process.list", LONG_PROCESSES),
    (["ps", "--long", "--maps"], "process.list", LONG_PROCESSES),
    (["drops"], "drops.show", DROPS),
    (["drops"], "drops.show", MANY_WORKERS),
    (["stats"], "stats.show", STATS),
    (["stats"], "stats.show", HUGE_STATS),
    (["stats", "--for", "0.1"], "stats.show", HUGE_STATS),
    (["fib", "show"], "fib.show", FIB),
    (["fib", "show", "--memory"], "fib.show", FIB),
    (["fib", "verify"], "fib.verify", BIG_VERIFIED),
    (["explain", "10.0.1.2", "10.0.3.2"], "explain", LONG_STAGE),
    (["route", "get", "198.51.100.7"], "route.get", FOUND),
    (["route", "show", "--all"], "route.list", {"routes": [SIX, REJECTED], "cursor": None}),
    (["doctor"], "", {}),
    (["--help"], "", {}),
]


@pytest.mark.parametrize(("words", "method", "answer"), SCREENS, ids=[
    f"{' '.join(words)} {i}" for i, (words, _, _) in enumerate(SCREENS)])  # fmt: skip
def test_a_screen_of_80_columns_is_wide_enough(
    words: list[str], method: str, answer: Any, router: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is longer, whatever the router has to tell; but a path is never cut."""
    if words == ["doctor"]:
        monkeypatch.setenv("RIBCAGE_RUN_DIR", "/run/ribcage")
    router.answers[method] = answer
    _, lines = on_a_terminal(words)
    assert len(lines) > 1
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("columns", [40, 50, 58, 59, 66, 80])
def test_routes_fit_every_terminal(columns: int, router: Any) -> None:
    """Where columns have no room a prefix has its facts below it; nothing is lost or too long."""
    router.answers["route.list"] = {"routes": [SIX, REJECTED], "cursor": None}
    status, lines = on_a_terminal(["route", "show", "--all", "-q"], columns=columns)
    assert status == 0
    assert [line for line in lines if len(line) > columns] == []
    said = " ".join(" ".join(lines).split())
    for part in (SIX["dst"], "[254/0]", "64/64", "dev enp3s0f1", "weight 9", "198.51.100.0/24",
                 "rejected: next hop"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize("words", ["drop no-route", "error E_TABLE_FULL"])
def test_help_of_reasons_and_codes_fits_a_terminal(words: str) -> None:
    """Its sentences are wrapped."""
    _, lines = on_a_terminal(["help", *words.split()], columns=60)
    assert [line for line in lines if len(line) > 60] == []


def test_the_best_column_of_ps_is_whole_on_a_terminal(router: Any) -> None:
    """What happens when it dies goes on below itself, to the last word."""
    router.answers["process.list"] = LONG_PROCESSES
    _, lines = on_a_terminal(["ps"])
    at = lines[0].index("IF IT DIES")
    rows = lines[1 : next(i for i, line in enumerate(lines) if line.startswith("worker1"))]
    assert " ".join(line[at:].strip() for line in rows if line[at:].strip()) == SENTENCE


def test_in_a_pipe_a_row_is_a_line_as_wide_as_it_has_to_be(router: Any, ribcage: Any) -> None:
    """grep and awk find a whole row."""
    router.answers["process.list"] = LONG_PROCESSES
    lines = ribcage("ps").out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith(SENTENCE)
    assert "CHOWN,NET_ADMIN,NET_RAW" in lines[1]


def row(number: int) -> dict[str, Any]:
    return {"dst": f"10.{number >> 8}.{number & 255}.0/24", "protocol": "static", "distance": 1,
            "metric": 0, "nexthops": [{"via": "10.0.0.1"}], "selected": True, "in_fib": True,
            "workers": {"seen": 1, "of": 1}}  # fmt: skip


def serve_table(router: Any, rows: list[dict[str, Any]]) -> None:
    def page(params: dict[str, Any]) -> dict[str, Any]:
        at = int(params.get("cursor") or 0)
        end = at + params["limit"]
        return {"routes": rows[at:end], "cursor": str(end) if end < len(rows) else None}

    router.answers["route.list"] = page


def test_a_large_table_does_not_run_over_a_terminal(router: Any, ribcage: Any) -> None:
    """200 rows and the way to all of them; a pipe, --all and -j give every one."""
    serve_table(router, [row(i) for i in range(5000)])
    status, lines = on_a_terminal(["route", "show"])
    shown = [line for line in lines if line.startswith("S>*")]
    assert (status, len(shown)) == (0, 200)
    assert any("200" in line and "--all" in line for line in lines)
    _, lines = on_a_terminal(["route", "show", "--limit", "300"])
    assert len([line for line in lines if line.startswith("S>*")]) == 300
    _, lines = on_a_terminal(["route", "show", "--all"])
    assert len([line for line in lines if line.startswith("S>*")]) == 5000
    ran = ribcage("route", "show")
    assert (len(ran.out.splitlines()), ran.err) == (1 + 5000, "")
    assert ribcage("-j", "route", "show").document["count"] == 5000


OWN = [
    {**row(1), "dst": "10.0.1.0/32", "type": "broadcast", "protocol": "connected", "nexthops": []},
    {**row(1), "dst": "10.0.1.1/32", "type": "receive", "protocol": "connected", "nexthops": []},
    {**row(1), "dst": "10.0.1.2/32", "protocol": "neighbour"},
]


def test_own_routes_are_not_in_the_way_of_those_one_looks_for(router: Any, ribcage: Any) -> None:
    """Left out and said, unless asked for; -j has them always."""
    serve_table(router, [*OWN, row(2)])
    ran = ribcage("route", "show")
    assert [line.split()[1] for line in ran.out.splitlines()[1:]] == ["10.0.2.0/24"]
    assert ran.err == "not shown: 3 own or neighbour routes (--all)\n"
    for words in (["--all"], ["10.0.0.0/8"], ["--source", "connected"]):
        shown = [line[:3] for line in ribcage("route", "show", *words).out.splitlines()[1:]]
        assert shown == ["L>*", "L>*", "N>*", "S>*"]
    assert ribcage("-j", "route", "show").document["count"] == 4
    assert ribcage("-q", "route", "show").err == ""
