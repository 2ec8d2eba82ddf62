"""A good file makes its plan; damaged ones make reports, never anything else."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.controlplane.config.load import check, load, load_plan
from ribcage.controlplane.config.machine import Machine
from ribcage.controlplane.config.model import LATER, OLD_STRATEGIES, TABLES, keys_of
from ribcage.controlplane.config.toml.positions import Positions
from ribcage.controlplane.config.toml.problems import ConfigErrors
from ribcage.shared.plan import InterfacePlan, NexthopPlan, Plan, RoutePlan

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "ribcage.toml"
TEXT = EXAMPLE.read_text()
MACHINE = Machine(cpus=(0, 1, 2, 3), msgmnb=16384, groups=frozenset())


def test_the_shipped_example_is_a_good_file() -> None:
    """docs/ribcage.toml compiles without error or warning, and says what the plan then holds."""
    plan, report = load(EXAMPLE, MACHINE)
    assert report.problems == ()
    assert plan is not None
    assert plan.config_path == str(EXAMPLE)
    assert plan.interfaces[0] == InterfacePlan(
        "eth1", ("10.0.1.1/24", "2001:db8:1::1/64"), 1500, "fix"
    )
    assert plan.routes == (
        RoutePlan("0.0.0.0/0", "forward", (NexthopPlan("10.0.2.254"),), 10),
        RoutePlan(
            "198.51.100.0/24",
            nexthops=(NexthopPlan("10.0.2.10", None, 2), NexthopPlan("10.0.2.11")),
        ),
        RoutePlan("203.0.113.0/24", "blackhole"),
        RoutePlan("2001:db8:ffff::/48", nexthops=(NexthopPlan("fe80::1", "eth2"),)),
    )
    assert Plan.from_json(plan.dumps()) == plan


@pytest.mark.parametrize(
    ("words", "dst"),
    [
        ('dst = "default"\nvia = "10.0.1.9"', "0.0.0.0/0"),
        ('dst = "default"\nvia = "2001:db8::9"', "::/0"),
        ('dst = "default"\nnexthops = [{ via = "2001:db8::9" }]', "::/0"),
        ('dst = "default"\ndev = "eth1"', "0.0.0.0/0"),
        ('dst = "default4"\ntype = "blackhole"', "0.0.0.0/0"),
        ('dst = "default6"\ntype = "blackhole"', "::/0"),
    ],
)
def test_the_default_route_has_a_name(words: str, dst: str) -> None:
    """As on the command line; its family is that of its next hop."""
    head = '[[interface]]\nname = "eth1"\naddress = ["10.0.1.1/24", "2001:db8::1/64"]\n'
    plan, report = check(f"{head}[[route]]\n{words}\n", machine=MACHINE)
    assert report.problems == ()
    assert plan is not None
    assert plan.routes[0].dst == dst


def test_the_default_route_by_name_and_by_number_is_one_route() -> None:
    """E108, with both places, as for any prefix that stands there twice."""
    route = '[[route]]\ntype = "blackhole"\ndst = "{}"\n'
    _, report = check(route.format("0.0.0.0/0") + route.format("default"), machine=MACHINE)
    assert [problem.code for problem in report.problems] == ["E108"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [("drop", 'did you mean "blackhole"?'), ("reject", 'did you mean "unreachable"?'),
     ("xyzzy", "take one of those listed")],
)  # fmt: skip
def test_what_others_call_a_kind_of_route_is_understood(word: str, hint: str) -> None:
    """ "drop" is no misspelt "forward"."""
    text = f'[[route]]\ndst = "10.9.0.0/16"\ntype = "{word}"\n'
    _, report = check(text, machine=MACHINE)
    assert (report.problems[0].code, report.problems[0].hint) == ("E103", hint)


def test_no_text_of_a_library_is_told() -> None:
    """Every key with every type of value: our words, never "Input should be a valid ..."."""
    values = ("0", "-1", "1.5", "nan", "true", '"x"', "[]", "[1]", "{ a = 1 }", "[[]]",
              "2020-01-01", "12:00:00", "1" * 30)  # fmt: skip
    told = set()
    for table, model in TABLES.items():
        for key in keys_of(model):
            for value in values:
                node = f"{{ {key} = {value} }}"
                for part in reversed(table[1:]):
                    node = f"{{ {part} = {node} }}"
                text = f"{table[0]} = {node}\n" if table else f"{key} = {value}\n"
                for listed in (text, text.replace(" = ", " = [", 1).rstrip() + "]\n"):
                    told |= {p.message for p in check(listed, machine=MACHINE)[1].problems}
    assert len(told) > 100
    theirs = ("Input should", "Field required", "Extra inputs", "validation", "valid ")
    assert [
        text for text in told if any(word in text for word in theirs) and "TOML" not in text
    ] == []


def test_the_example_shows_every_key() -> None:
    """A key added to the model has to be shown to users, commented out at least."""
    missing = [
        f"{'.'.join(table)}.{key}"
        for table, model in TABLES.items()
        for key in keys_of(model)
        if key not in TEXT
    ]
    assert missing == []


@pytest.mark.parametrize(("old", "new"), OLD_STRATEGIES.items())
def test_a_renamed_word_still_works_and_means_the_new_one(old: str, new: str) -> None:
    """The plan is the same, but for one warning."""
    plan, report = check(f'[fib]\nsync = "{old}"\n', machine=MACHINE)
    wanted, _ = check(f'[fib]\nsync = "{new}"\n', machine=MACHINE)
    assert wanted is not None
    assert plan == wanted
    assert [problem.code for problem in report.problems] == ["W205"]


@pytest.mark.parametrize("line", ['users = "7000-7063"', 'users = "off"', 'seccomp = "log"'])
def test_what_stood_under_workers_still_works_and_means_process(line: str) -> None:
    """The plan is the same, but for one warning; where both say something, the new one counts."""
    plan, report = check(f"[workers]\n{line}\n", machine=MACHINE)
    wanted, _ = check(f"[process]\n{line}\n", machine=MACHINE)
    assert wanted is not None
    assert plan == wanted != check("", machine=MACHINE)[0]
    assert [problem.code for problem in report.problems] == ["W205"]
    both = '[process]\nusers = "8000-8010"\nseccomp = "off"\n[workers]\n' + line + "\n"
    plan, _ = check(both, machine=MACHINE)
    assert plan is not None
    assert (plan.process.users, plan.process.seccomp) == ((8000, 8010), "off")


def test_what_the_example_says_is_the_default_is_the_default() -> None:
    """Without its interfaces, routes and router id the example is an empty file's plan."""
    empty, _ = check("", machine=MACHINE)
    full, _ = check(TEXT, machine=MACHINE)
    assert empty is not None
    assert full is not None
    for name in (
        "workers",
        "process",
        "fib",
        "events",
        "icmp",
        "hold",
        "rings",
        "management",
        "log",
    ):
        assert getattr(empty, name) == getattr(full, name), name


def test_later_keys_are_not_also_known_keys() -> None:
    """A key this build acts on is not told to come later."""
    assert [path for path in LATER if path[-1] in keys_of(TABLES[path[:-1]])] == []


def test_auto_leaves_one_cpu_to_control() -> None:
    """count = "auto" is the machine's CPUs less one, and at least one."""
    text = '[workers]\ncount = "auto"\n'
    for cpus, count in (((0, 1, 2, 3), 3), ((0,), 1)):
        plan, _ = check(text, machine=Machine(cpus=cpus))
        assert plan is not None
        assert plan.workers.count == count


def test_settings_with_units_and_digits_are_read() -> None:
    """Durations become seconds, the mode a number, users a pair."""
    plan, report = check(
        '[router]\norphan_timeout = "0s"\nteach = true\n[management]\nmode = "0660"\n'
        'group = "staff"\nidle_timeout = "2m"\n[process]\nusers = "7000-7063"\n[workers]\n'
        'restart = { max = 1, window = "500s" }\n[fib]\npublish = { max_delay = "500us" }\n',
        machine=Machine(groups=frozenset({"staff"})),
    )
    assert plan is not None, report.render()
    assert (plan.orphan_timeout, plan.teach, plan.management.mode) == (0.0, True, 0o660)
    assert (plan.management.group, plan.management.idle_timeout) == ("staff", 120.0)
    assert (plan.process.users, plan.workers.restart_window) == ((7000, 7063), 500.0)
    assert plan.fib.max_delay == pytest.approx(0.0005)


def test_link_local_networks_do_not_overlap() -> None:
    """Every link has its own fe80::/64."""
    plan, report = check(
        '[[interface]]\nname = "a"\naddress = "fe80::1/64"\n'
        '[[interface]]\nname = "b"\naddress = "fe80::1/64"\n'
    )
    assert plan is not None, report.render()


def test_point_to_point_networks_have_no_broadcast_address() -> None:
    """Both addresses of a /31 (RFC 3021) and a /127 (RFC 6164) are hosts."""
    plan, report = check(
        '[[interface]]\nname = "a"\naddress = ["10.0.0.0/31", "2001:db8::/127"]\n'
        '[[route]]\ndst = "192.0.2.0/24"\nvia = "10.0.0.1"\n'
    )
    assert plan is not None, report.render()


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    """Columns stay right, as tomllib reads CRLF as LF."""
    _, report = check(b'\xef\xbb\xbf[fib]\r\nsync = "x"\r\n', "r.toml")
    assert [(p.span.line, p.span.column) for p in report.problems] == [(2, 8)]


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_a_file_that_cannot_be_read_is_one_error(kind: str, tmp_path: Path) -> None:
    """E002 without a place, and no waiting for a FIFO's writer."""
    path = tmp_path / "r.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(ConfigErrors) as caught:
        load_plan(path)
    (problem,) = caught.value.report.problems
    hints = {"missing": "is that", "folder": "name a file in it", "fifo": "name another"}
    assert (problem.code, str(problem.hint)[: len(hints[kind])]) == ("E002", hints[kind])


def mutated(rng: random.Random) -> str:
    """The example after some random damage: characters, lines, values, keys."""
    lines = TEXT.split("\n")
    for _ in range(rng.randint(1, 4)):
        number = rng.randrange(len(lines))
        line = lines[number]
        match rng.randrange(7):
            case 0 if len(lines) > 1:
                del lines[number]
            case 1:
                lines.insert(number, lines[rng.randrange(len(lines))])
            case 2 if line:
                at = rng.randrange(len(line))
                lines[number] = line[:at] + rng.choice("\"[]{}=,.#\\'-0aé\x00\t\n") + line[at + 1 :]
            case 3 if "=" in line:
                value = rng.choice(
                    ['""', "-1", "1e400", "nan", "[]", "{}", "[[1]]", "true", "07:32:00",
                     '"\\u0000"',
                     "1979-05-27", '"fe80::1%eth0"', "99999999999999999999", '["10.0.0.1/24", 3]',
                     "[{ via = 3 }]", '"0.0.0.0/0"', "{ a.b.c = [] }", '"::ffff:1.2.3.4/100"']
                )  # fmt: skip
                lines[number] = line.split("=")[0] + "= " + value
            case 4 if "=" in line:
                lines[number] = (
                    rng.choice(["x", "via", "dst", '"a b"']) + " =" + line.split("=", 1)[1]
                )
            case 5:
                lines[number] = rng.choice(["[route]", "[[fib]]", "[a.b.c]", "[[route.nexthops]]"])
            case _:
                lines = lines[: number + 1]
    return "\n".join(lines)


@settings(max_examples=1200, deadline=None)
@given(st.integers(0, 2**32))
def test_no_damage_makes_anything_but_a_report(seed: int) -> None:
    """A plan without errors or errors without a plan; both forms of the report can be made."""
    text = mutated(random.Random(seed))
    plan, report = check(text, "r.toml", MACHINE)
    assert (plan is None) == (report.errors > 0)
    assert report.render().count(": error[") == report.errors
    lines = text.replace("\r\n", "\n").split("\n")
    for problem in report.problems:
        assert 1 <= problem.span.line <= len(lines)
        assert 1 <= problem.span.column <= len(lines[problem.span.line - 1]) + 1
    assert len(report.to_json()) == len(report.problems)
    if plan is not None:
        assert Plan.from_json(plan.dumps()) == plan


@given(st.text(max_size=200) | st.text("[]{}=\"\\.,a1#\n '", max_size=60))
def test_the_position_index_takes_any_text(text: str) -> None:
    """It checks nothing, ends always, and answers for paths it does not know."""
    positions = Positions(text)
    assert positions.value(("a", 0, "b")).line >= 1
    assert positions.lost().column >= 1
