"""What the command line says while a worker does no work: never that all is well."""

from typing import Any

from tests.cli.answers import CHANGE, DROPS, PROCESSES, STATS

HUNG = [{"worker": 1, "state": "hung"}]


def test_a_route_is_used_by_those_who_work(router: Any, ribcage: Any) -> None:
    """1/2, and who the other is: the change is made, exit 0."""
    workers = {"seen": 1, "of": 2, "absent": HUNG}
    router.answers["route.add"] = {**CHANGE, "workers": workers}
    ran = ribcage("route", "add", "198.51.100.0/24", "via", "10.0.2.9")
    assert "used by 1/2 workers after 38" in ran.out and "worker1 is hung" in ran.out
    assert ran.status == 0


def test_ps_says_when_a_slot_is_tried_again(router: Any, ribcage: Any) -> None:
    """And exits 1: a process does not do its work."""
    supervisor, worker = PROCESSES["processes"]
    note = "next try in 4.2 s, died 9 times, last: killed by signal 11 (SIGSEGV)"
    waiting = {**worker, "state": "waiting", "pid": 0, "note": note}
    router.answers["process.list"] = {"processes": [supervisor, waiting]}
    ran = ribcage("ps")
    assert f"waiting, {note}" in ran.out
    assert ran.status == 1
    for state in ("hung", "stopped", "absent"):
        router.answers["process.list"] = {"processes": [supervisor, {**worker, "state": state}]}
        assert ribcage("ps").status == 1


def test_counters_do_not_balance_while_a_worker_is_hung(router: Any, ribcage: Any) -> None:
    """`stats --check` exits 1 and names it; so does `drops` in its last line."""
    router.answers["stats.show"] = {**STATS, "balanced": False, "uncounted": HUNG}
    ran = ribcage("stats", "--check")
    assert "NOT BALANCED: worker1 is hung" in ran.out and ran.status == 1
    balance = {**DROPS["balance"], "balanced": False, "uncounted": HUNG}  # type: ignore[dict-item]
    router.answers["drops.show"] = {**DROPS, "balance": balance}
    assert "worker1 is hung" in ribcage("drops").out


def test_drops_shows_the_frames_that_ended_workers(router: Any, ribcage: Any) -> None:
    aside = {"worker": 0, "port": "eth1", "mono_ns": 1, "length": 62, "bytes": "0a0b0c"}
    router.answers["drops.show"] = {**DROPS, "set_aside": [aside]}
    assert "set aside: 62 bytes from eth1 that ended worker0 twice: 0a0b0c" in ribcage("drops").out
