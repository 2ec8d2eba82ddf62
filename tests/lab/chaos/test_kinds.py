"""The list of kinds: complete, told, and drawn the same for one seed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.cli.main import main
from ribcage.lab.chaos.kinds.table import ALL, DEFAULT, named
from ribcage.lab.chaos.report import VERDICT, passed, spread
from ribcage.shared.errors import RibcageError

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "what-you-may-kill.md").read_text()


def test_there_are_at_least_25_kinds_and_each_says_what_it_does() -> None:
    """In words, with what a router should do about it."""
    assert len(ALL) >= 25
    assert all(kind.says and kind.expect for kind in ALL.values())


def test_every_kind_and_its_window_stand_on_the_page() -> None:
    """docs/what-you-may-kill.md promises what the tool allows, and nothing else."""
    for name, kind in ALL.items():
        assert f"| `{name}` | {kind.window_ms} |" in PAGE, name


def test_only_takes_names_and_families() -> None:
    """A name, several, a family; a misspelt one is refused with where to look."""
    assert [kind.name for kind in named("control-kill,worker-stop")] == [
        "control-kill", "worker-stop",
    ]  # fmt: skip
    assert {kind.name for kind in named("queue-")} == {
        "queue-remove",
        "queue-full",
        "queue-garbage",
    }
    with pytest.raises(RibcageError) as refused:
        named("worker-kil")
    assert refused.value.exit_code == 2 and "--list" in str(refused.value.hint)


def test_the_list_is_told_without_a_lab(capsys: Any) -> None:
    """`ribcage lab chaos --list`, as JSON."""
    assert main(["-j", "lab", "chaos", "--list"]) == 0
    told = json.loads(capsys.readouterr().out)["kinds"]
    assert [row["kind"] for row in told] == list(ALL)


@pytest.mark.parametrize("name", VERDICT)
def test_each_figure_of_the_verdict_alone_fails_a_run(name: str) -> None:
    """None of them is there for show."""
    figures = dict.fromkeys(VERDICT, 0)
    assert passed({"summary": figures})
    assert not passed({"summary": figures | {name: 1}})


def test_a_percentile_is_one_of_the_values() -> None:
    """Of nothing it is nothing."""
    assert spread([3.0, None, 1.0, 2.0]) == {"count": 3, "p50": 2.0, "p99": 3.0, "max": 3.0}
    assert spread([None])["max"] is None


def test_the_same_seed_draws_the_same_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same order; another seed, another order. No lab: the draws alone."""
    from ribcage.lab.chaos.engine import Engine

    def drawn(seed: int) -> list[str]:
        nothing: Callable[[str], None] = lambda text: None  # noqa: E731
        engine = Engine(None, None, list(ALL.values()), seed, 100, nothing)  # type: ignore[arg-type]
        return [engine.draw().name for _ in range(3 * len(ALL))]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)
    assert set(drawn(5)[: len(ALL)]) == set(ALL)
    seldom = {name for name, kind in ALL.items() if kind.seldom}
    assert seldom
    second = drawn(5)[len(ALL) : 2 * len(ALL) - len(seldom)]
    assert set(second) == set(ALL) - seldom


def test_what_the_router_cannot_do_yet_is_played_only_when_named() -> None:
    """With the reason on the page and in the list; at least 25 kinds are left for a run."""
    later = {name for name, kind in ALL.items() if kind.later}
    assert set(DEFAULT) == set(ALL) - later
    assert len(DEFAULT) >= 25
    for name in later:
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` ")]
        assert f"only when named: {ALL[name].later}" in line
        assert [kind.name for kind in named(name)] == [name]
