"""Any line and any answer: a status of the table, one JSON document, never a traceback."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ribcage.cli import words
from ribcage.cli.words import KEYS
from ribcage.shared.errors import RibcageError

LIMITS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
STATUSES = {0, 1, 2, 3, 4, 5, 6, 7, 8}
# Not run, stop, doctor or --for: those do something.
WORDS = ["route", "show", "get", "add", "del", "explain", "fib", "verify", "stats", "drops", "ps",
         "config", "check", "compile", "version", "help", "drop", "via", "dev", "metric", "weight",
         "10.0.0.0/8", "10.0.0.1", "::/0", "fe80::1", "-p", "-q", "-v", "--", "-", "--wait", "none",
         "--check", "--maps", "--in", "--ttl", "5", "-1", "é", "", "--limit", "--plan", "/dev/null",
         "default", "\x1b[31m", "--help", "-h", "--json", "--nosuch", "-jp",
         "x" * 5000]  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["routes", "cursor", "dst", "nexthops", "workers", "stages", "reasons", "total",
             "processes", "maps", "balance", "totals", "ports", "differences", "count", "drops"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=15,
)  # fmt: skip
ASKING = [["route", "show"], ["route", "get", "10.0.0.1"], ["route", "del", "10.0.0.0/8"], ["ps"],
          ["route", "add", "10.0.0.0/8", "dev", "x"], ["explain", "10.0.0.1"], ["fib", "show"],
          ["fib", "verify"], ["stats", "--check"], ["drops"], ["ps", "--maps"]]  # fmt: skip


@LIMITS
@given(line=st.lists(st.sampled_from(WORDS), max_size=7))
def test_any_line_has_a_status_and_a_document(line: list[str], router: Any, ribcage: Any) -> None:
    """With -j stdout is one JSON document whatever stands on the line."""
    ran = ribcage("-j", *line)
    assert ran.status in STATUSES
    assert json.loads(ran.out)["schema"] == 1
    assert "Traceback" not in ran.err or "-v" in line


@LIMITS
@given(answer=json_values, line=st.sampled_from(ASKING))
def test_any_answer_has_a_status_and_a_document(
    answer: Any, line: list[str], router: Any, ribcage: Any
) -> None:
    """A router of another build, or a broken one, is a sentence at worst."""
    router.answers.clear()
    for method in ("route.list", "route.get", "route.add", "route.del", "process.list", "explain",
                   "fib.show", "fib.verify", "stats.show", "drops.show"):  # fmt: skip
        router.answers[method] = lambda params: answer
    ran = ribcage("-j", *line)
    assert ran.status in STATUSES
    assert isinstance(json.loads(ran.out), dict)
    ran = ribcage(*line)
    assert ran.status in STATUSES
    assert "Traceback" not in ran.err


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*KEYS, *WORDS]) | st.text(max_size=6), min_size=1, max_size=8))
def test_any_words_are_a_route_or_a_named_error(line: list[str]) -> None:
    """The grammar ends in parameters or in exit 2."""
    for read in (words.route, words.selector):
        try:
            assert "/" in read(line)["dst"]
        except RibcageError as error:
            assert (error.exit_code, bool(error.message)) == (2, True)
