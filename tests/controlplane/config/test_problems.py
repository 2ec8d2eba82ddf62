"""Each kind of mistake: its code, its place, its caret and what to write instead."""

from dataclasses import dataclass

import pytest

from ribcage.controlplane.config.load import check
from ribcage.controlplane.config.machine import Machine
from ribcage.controlplane.config.toml.problems import ConfigReport, Problem
from ribcage.shared.codes import remedy

MACHINE = Machine(cpus=(0, 1), msgmnb=16384, groups=frozenset({"ribcage"}))
LINKS = """\
[[interface]]
name = "eth1"
address = ["10.0.1.1/24", "2001:db8:1::1/64"]
[[interface]]
name = "eth2"
address = "10.0.2.1/24"
"""


def report_of(text: str) -> ConfigReport:
    return check(text, "r.toml", MACHINE)[1]


def problems_of(text: str) -> list[Problem]:
    return list(report_of(text).problems)


@dataclass(frozen=True)
class Case:
    """A text with one mistake; `^` under the line says where, and how long."""

    code: str
    text: str  # the mistake's line is followed by a line of spaces and carets
    message: str
    hint: str | None
    after: str = ""  # what stands above it
    other: int | None = None  # line of the other place


CASES = [
    Case(
        "E001", "address = 10.0.1.1/24\n              ^",
        "not valid TOML: expected newline or end of document after a statement",
        'strings need quotes: address = "10.0.1.1/24"', "[[interface]]\n",
    ),
    Case("E001", "teach = yes\n        ^", "not valid TOML: invalid value", "teach = true",
         "[router]\n"),
    Case("E001", "count: 2\n     ^",
         "not valid TOML: expected '=' after a key in a key/value pair",
         "TOML writes key = value: count = 2", "[workers]\n"),
    Case("E001", "count = 3\n^^^^^", "not valid TOML: count is defined twice",
         "delete one of the two", "[workers]\ncount = 2\n", 2),
    Case("E001", "[interface]\n^^^^^^^^^^^", "not valid TOML: [interface] is defined twice",
         "write [[interface]] for each interface", '[interface]\nname = "eth1"\n', 1),
    Case("E001", "cpus = [0, 1\n       ^", "not valid TOML: unclosed array",
         "this [ is never closed by ]", "[workers]\n"),
    Case("E001", 'name = "r1\n          ^', "not valid TOML: illegal character '\\n'",
         "close the quote on this line", "[router]\n"),
    Case("E101", 'stratgy = "epoch"\n^^^^^^^', 'unknown key "stratgy" in [fib]',
         'did you mean "sync"? known keys: lookup4, lookup6, sync, max_routes4, max_routes6,'
         " aggregate, huge_pages, audit, publish", "[fib]\n"),
    Case("E101", "asn = 65000\n^^^", 'unknown key "asn" in [router]',
         "known keys: name, router_id, orphan_timeout, teach", "[router]\n"),
    Case("E101", "sync = 1\n^^^^", 'unknown key "sync" in [router]',
         "sync belongs under [fib]; known keys: name, router_id, orphan_timeout, teach",
         "[router]\n"),
    Case("E101", "[exporter]\n^^^^^^^^^^", 'unknown key "exporter" in the file',
         "not in this build: the metrics exporter comes later; use `ribcage -j stats`"),
    Case("E101", 'confirm_timeout = "120s"\n^^^^^^^^^^^^^^^',
         'unknown key "confirm_timeout" in [management]',
         "not in this build: confirmed changes come later", "[management]\n"),
    Case("E102", 'max_routes4 = "1200000"\n^^^^^^^^^^^^^^^^^^^^^^^',
         "max_routes4 must be a whole number, not a string", "remove the quotes", "[fib]\n"),
    Case("E102", "router_id = 7\n^^^^^^^^^^^^^", "router_id must be a string, not a whole number",
         "add quotes", "[router]\n"),
    Case("E102", "orphan_timeout = 30\n^^^^^^^^^^^^^^^^^^^",
         "orphan_timeout needs a unit: 30 of what?", 'such as "30s"', "[router]\n"),
    Case("E102", "fib = 3\n^^^^^^^", "fib must be a table, not a whole number",
         "write [fib] and its keys below"),
    Case("E102", 'mode = 432\n^^^^^^^^^^', "mode must be a string of octal digits", '"0432"',
         "[management]\n"),
    Case("E103", 'sync = "epcoh"\n       ^^^^^^^', "sync = 'epcoh' is not one of: "
         "epoch, seqlock, double, rwlock, sem_undo, mutex, message, none",
         'did you mean "epoch"?', "[fib]\n"),
    Case("E103", 'lookup4 = "compcat"\n          ^^^^^^^^^',
         "lookup4 = 'compcat' is not one of: compact, flat, interval, multibit, binary",
         'did you mean "compact"?', "[fib]\n"),
    Case("E103", 'lookup6 = "flat"\n          ^^^^^^',
         "lookup6 = 'flat' is not one of: interval, multibit, binary",
         'write "interval"', "[fib]\n"),
    Case("E104", "mtu = 90000\n      ^^^^^", "mtu 90000 is outside 576..65535",
         "jumbo frames are usually 9000", LINKS),
    Case("E104", "count = 0\n        ^", "count 0 is outside 1..64", 'or count = "auto"',
         "[workers]\n"),
    Case("E104", 'users = "65000-66000"\n        ^^^^^^^^^^^^^',
         "users 65000-66000 holds 65534 (nobody), which others share", 'such as "61000-61063"',
         "[process]\n"),
    Case("E105", "[[interface]]\n^^^^^^^^^^^^^", "[[interface]] needs name", "name = ..."),
    Case("E105", 'dst = "192.0.2.0/24"\n      ^^^^^^^^^^^^^^', "[[route]] needs a next hop",
         'via = "...", dev = "...", nexthops = [...] or type = "blackhole"', LINKS + "[[route]]\n"),
    Case("E106", 'address = ["10.0.1.129/25"]\n           ^^^^^^^^^^^^^^^',
         "10.0.1.128/25 on eth3 overlaps 10.0.1.0/24 on eth1",
         "two links cannot own the same network", LINKS + '[[interface]]\nname = "eth3"\n', 3),
    Case("E107", 'dst = "10.9.0.1/24"\n      ^^^^^^^^^^^^^',
         '"10.9.0.1/24" has host bits set below /24',
         'did you mean "10.9.0.0/24"? (an address of this router goes under [[interface]])',
         LINKS + '[[route]]\nvia = "10.0.1.2"\n'),
    Case("E108", 'dst = "192.0.2.0/24"\n      ^^^^^^^^^^^^^^',
         "192.0.2.0/24 metric 0 is defined twice",
         "give one a different metric, or list both next hops in nexthops = [...] for ECMP",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\nvia = "10.0.1.2"\n[[route]]\nvia = "10.0.1.3"\n',
         8),
    Case("E108", 'name = "eth1"\n       ^^^^^^', "interface eth1 is defined twice",
         "delete one of the two", LINKS + '[[interface]]\naddress = "10.5.0.1/24"\n', 2),
    Case("E108", 'address = "10.0.2.1/24"\n          ^^^^^^^^^^^^^',
         "address 10.0.2.1 is defined twice",
         "delete one of the two", LINKS + '[[interface]]\nname = "eth3"\n', 6),
    Case("E109", "cpus = [1, 7]\n           ^",
         "CPU 7 does not exist on this machine (it has CPUs 0-1)",
         'leave cpus out and use count = "auto" to follow the machine', "[workers]\n"),
    Case("E110", 'address = "10.0.0.256/24"\n          ^^^^^^^^^^^^^^^',
         '"10.0.0.256/24" is not an address with its prefix length', "256 is more than 255",
         '[[interface]]\nname = "eth1"\n'),
    Case("E110", 'via = "010.0.1.2"\n      ^^^^^^^^^^^', '"010.0.1.2" is not an address',
         'leading zeros may mean octal; write "10.0.1.2"',
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n'),
    Case("E110", 'dst = "10.0.0.0/33"\n      ^^^^^^^^^^^^^',
         '"10.0.0.0/33" has no such prefix length',
         "/0 to /32", LINKS + '[[route]]\nvia = "10.0.1.2"\n'),
    Case("E110", 'dst = "10.0.0.0/255.0.0.0"\n      ^^^^^^^^^^^^^^^^^^^^',
         '"10.0.0.0/255.0.0.0" is not a prefix', 'write "10.0.0.0/8"',
         LINKS + '[[route]]\nvia = "10.0.1.2"\n'),
    Case("E110", 'address = "10.0.1.1"\n          ^^^^^^^^^^', '"10.0.1.1" has no prefix length',
         'for example "10.0.1.1/24"', '[[interface]]\nname = "eth1"\n'),
    Case("E111", 'via = "fe80::1"\n      ^^^^^^^^^',
         'next hop fe80::1 is link-local, so the route needs dev = "..."', "one of: eth1, eth2",
         LINKS + '[[route]]\ndst = "2001:db8:9::/48"\n'),
    Case("E112", 'address = "127.0.0.1/8"\n          ^^^^^^^^^^^^^',
         "127.0.0.1/8 is a loopback address and cannot be an interface", None,
         '[[interface]]\nname = "eth1"\n'),
    Case("E112", 'address = "10.0.1.255/24"\n          ^^^^^^^^^^^^^^^',
         "10.0.1.255/24 is the broadcast address of its network", 'for example "10.0.1.1/24"',
         '[[interface]]\nname = "eth1"\n'),
    Case("E112", 'via = "224.0.0.5"\n      ^^^^^^^^^^^',
         "224.0.0.5 is a multicast address and cannot be a next hop", None,
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n'),
    Case("E112", 'via = "10.0.1.0"\n      ^^^^^^^^^^',
         "next hop 10.0.1.0 is the network address of 10.0.1.0/24", "the address of a host",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n'),
    Case("E112", 'via = "10.0.2.1"\n      ^^^^^^^^^^',
         "next hop 10.0.2.1 is this router's own address on eth2", "the address of the neighbour",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n'),
    Case("E112", 'dst = "224.0.0.0/4"\n      ^^^^^^^^^^^^^',
         "224.0.0.0/4 is multicast; a router never forwards to it", None,
         LINKS + '[[route]]\nvia = "10.0.1.2"\n'),
    Case("E113", 'via = "10.7.0.1"\n      ^^^^^^^^^^',
         "next hop 10.7.0.1 is on no connected network",
         "connected: 10.0.1.0/24, 2001:db8:1::/64, 10.0.2.0/24",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n'),
    Case("E113", 'via = "10.0.2.9"\n      ^^^^^^^^^^', "next hop 10.0.2.9 is on no network of eth1",
         "connected to eth1: 10.0.1.0/24, 2001:db8:1::/64",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\ndev = "eth1"\n'),
    Case("E114", 'dev = "eth9"\n      ^^^^^^',
         "no [[interface]] is named eth9", "one of: eth1, eth2",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n'),
    Case("E115", 'via = "10.0.1.2"\n      ^^^^^^^^^^', "via and nexthops do not go together",
         "move it into the list: nexthops = [{ via = ... }, ...]",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\nnexthops = [{ via = "10.0.1.3" }]\n', 9),
    Case("E115", 'via = "10.0.1.2"\n      ^^^^^^^^^^',
         "next hop 10.0.1.2 is IPv4, 2001:db8:9::/48 is IPv6", "an IPv6 address",
         LINKS + '[[route]]\ndst = "2001:db8:9::/48"\n'),
    Case("E115",
         'nexthops = [{ dev = "eth1" }, { via = "10.0.2.9" }]\n            ^^^^^^^^^^^^^^^^',
         "a next hop without via must be the only one", "give each next hop its own via",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n'),
    Case("E108", 'nexthops = [{ via = "10.0.2.9" }, { via = "10.0.2.9", dev = "eth2" }]\n'
         "                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
         "next hop 10.0.2.9 is listed twice", "use weight = 2 for a double share",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\n', 9),
    Case("E115", "slot_bytes = 5000\n             ^^^^",
         "slot_bytes 5000 is not a multiple of 4096",
         "write 8192", "[rings]\n"),
    Case("E115", "max_memory = 67108864\n             ^^^^^^^^",
         "3 ports x 2 workers x 256 slots x 69632 bytes = 102 MiB of rings, max_memory is 64 MiB",
         "slots = 160 under [rings] fits", LINKS + "[rings]\n"),
    Case("E115", 'users = "61000-61003"\n        ^^^^^^^^^^^^^',
         "control and 4 workers need 5 users, 61000-61003 has 4",
         'users = "61000-61004" under [process] is the least',
         "[workers]\ncount = 4\n[process]\n"),
    Case("E115", 'users = "700-700"\n        ^^^^^^^^^',
         "control and 1 worker need 2 users, 700-700 is 1",
         'users = "700-701" under [process] is the least',
         '[workers]\ncount = "auto"\n[process]\n'),
    Case("E115", "count = 64\n        ^^",
         "control and 64 workers need 65 users, 61000-61063 has 64",
         'users = "61000-61064" under [process] is the least',
         "[rings]\nmax_memory = 1_099_511_627_776\n[workers]\n"),
    Case("E116", 'operators = ["a b"]\n             ^^^^^',
         "operators = 'a b' is not a user or a group",
         'a user is "alice" or "1000", a group "@netops"',
         '[management]\nmode = "0660"\ngroup = "ribcage"\n'),
    Case("W201", 'operators = ["1000"]\n            ^^^^^^^^',
         "operators may not open the socket: mode 0600 lets no group in",
         'mode = "0660", and group = one they are all in', "[management]\n"),
    Case("W201", 'admins = ["1000"]\n         ^^^^^^^^',
         "admins may not open the socket: mode 0660 is for a group, none is set",
         'mode = "0660", and group = one they are all in', '[management]\nmode = "0660"\n'),
    Case("E116", 'name = "../etc"\n       ^^^^^^^^',
         "name = '../etc' is not a name of 1-32 letters, digits, '_', '.', '-'",
         None, "[router]\n"),
    Case("E117", 'group = "nosuch"\n        ^^^^^^^^', 'there is no group "nosuch" on this machine',
         "groupadd --system nosuch", "[management]\n"),
    Case("W201", 'via = "10.0.1.2"\n      ^^^^^^^^^^',
         "a blackhole route has no next hop; via is ignored", "delete this line",
         LINKS + '[[route]]\ndst = "192.0.2.0/24"\ntype = "blackhole"\n'),
    Case("W202", 'mode = "0666"\n       ^^^^^^',
         "mode 0666 lets every local user in, to look at all there is",
         '"0660" with group = "ribcage" is usual', "[management]\n"),
    Case("W203", "queue_bytes = 65536\n              ^^^^^",
         "queue_bytes 65536 is above kernel.msgmnb (16384); the queue will hold 256 events,"
         " not 1024", "sysctl -w kernel.msgmnb=65536 (before start; needs root)", "[events]\n"),
    Case("W204", 'sync = "none"\n       ^^^^^^',
         'sync = "none" gives wrong answers under change: only run --teach takes it',
         'write "epoch", or set teach = true in [router]', "[fib]\n"),
    Case("W205", 'sync = "undo"\n       ^^^^^^', 'sync = "undo" is called "sem_undo" now',
         'write "sem_undo"', "[fib]\n"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.message[:24]}")
def test_a_mistake_is_told_with_its_place_and_its_fix(case: Case) -> None:
    """Code, line, column, caret, message, hint and second place are exactly these."""
    line, carets = case.text.split("\n")
    problems = problems_of(case.after + line + "\n")
    assert len(problems) == 1, [problem.message for problem in problems]
    problem = problems[0]
    expected = (case.code, case.message, case.hint or remedy(case.code))
    assert expected == (problem.code, problem.message, problem.hint)
    place = (case.after.count("\n") + 1, carets.index("^") + 1, carets.count("^"))
    assert place == (problem.span.line, problem.span.column, problem.span.length)
    assert case.other == (problem.other.line if problem.other else None)
    rendered = report_of(case.after + line + "\n").render().split("\n")
    assert rendered[0].startswith(
        f"r.toml:{place[0]}:{place[1]}: {problem.severity}[{case.code}]: "
    )
    assert rendered[1] == f"{place[0]:>5} | {line}"
    assert rendered[2] == f"      | {carets} {case.hint or remedy(case.code)}"


def test_all_mistakes_of_a_file_are_told_at_once_and_in_order() -> None:
    """Shape, type, range and conflicts in one run; the summary counts them."""
    report = report_of(
        '[management]\nmode = "0666"\n[workers]\ncpus = [1, 7]\n[fib]\nstratgy = "epoch"\n'
        '[[interface]]\nname = "eth1"\naddress = ["10.0.1.1/24"]\nmtu = 90000\n'
        '[[interface]]\nname = "eth2"\naddress = ["10.0.1.129/25"]\n'
        '[[route]]\ndst = "10.9.0.1/24"\nvia = "10.7.0.1"\n'
    )
    codes = [problem.code for problem in report.problems]
    assert codes == ["W202", "E109", "E101", "E104", "E106", "E107", "E113"]
    assert report.summary() == "r.toml: 6 errors, 1 warning; nothing was applied"


def test_several_syntax_slips_are_told_at_once() -> None:
    """A line that is plainly `key = value` is set aside and reading goes on."""
    problems = problems_of("[router]\nteach = yes\n[[interface]]\nname = eth1\nmtu = 1500\n")
    assert [(p.code, p.span.line) for p in problems] == [("E001", 2), ("E001", 4)]


def test_a_warning_does_not_refuse_the_file() -> None:
    """W codes leave a plan and say OK with their number."""
    plan, report = check('[management]\nmode = "0666"\n', "r.toml", MACHINE)
    assert plan is not None
    assert report.summary() == "r.toml: OK (0 errors, 1 warning)"


def test_an_unsure_interface_accuses_no_next_hop() -> None:
    """Where addresses come from the kernel, or are misspelt, connectedness is not checked."""
    route = '[[route]]\ndst = "192.0.2.0/24"\nvia = "10.7.0.1"\n'
    assert problems_of('[[interface]]\nname = "eth1"\n' + route) == []
    codes = [
        p.code for p in problems_of('[[interface]]\nname = "e"\naddress = "10.7.0/24"\n' + route)
    ]
    assert codes == ["E110"]


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    """Escape sequences of a file reach the screen as question marks."""
    rendered = report_of("\x1b[31m = 1\n").render()
    assert "\x1b" not in rendered


def test_a_long_line_is_cut_around_the_caret() -> None:
    """The caret still stands under what it points at."""
    line = "cpus = [" + "0, " * 200 + "7]"
    rendered = report_of("[workers]\n" + line + "\n").render().split("\n")
    column = rendered[2].index("^")
    assert rendered[1][column] == "7"
    assert len(rendered[1]) < 130


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = \xff\n", "not UTF-8 text: byte 0xff in line 1"),
        (b" " * (5 << 20), "5242880 bytes, at most 4194304 are read"),
        (("a = " + "[" * 60000).encode(), "not valid TOML: nested too deeply"),
        (b"a = " + b"9" * 6000, "not valid TOML: a number is too long"),
    ],
)
def test_bytes_that_are_no_configuration_are_one_error(data: bytes, message: str) -> None:
    """Neither bytes nor depth nor length get past a sentence."""
    plan, report = check(data, "r.toml", MACHINE)
    assert plan is None
    assert [message] == [problem.message for problem in report.problems]
