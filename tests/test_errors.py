"""Errors say what docs/errors.md says: each is provoked, message and hint are looked up there."""

import os
import re
import string
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import posix_ipc
import pytest
from ribcage.shared._core import lib

from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.guard import WriterGuard
from ribcage.controlplane.management.listener import make_listener
from ribcage.controlplane.management.protocol import ProtocolError, parse_request
from ribcage.controlplane.rib.mapping import RibParams
from ribcage.controlplane.rib.segment import Rib
from ribcage.controlplane.values.nexthop import BLACKHOLE, UNREACHABLE
from ribcage.controlplane.values.parse import (
    parse_address,
    parse_nexthops,
    parse_number,
    parse_prefix,
    parse_word,
    resolve,
)
from ribcage.controlplane.values.topology import Topology
from ribcage.shared.addresses import mac_of, packed_address
from ribcage.shared.codes import CODES
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient
from ribcage.shared.memory.fib_records import FibKind, Group, Port
from ribcage.shared.memory.fib_sync import open_semaphore, strategy_name
from ribcage.shared.memory.rows import new_rows, row_of
from ribcage.shared.memory.segment import (
    SegmentKind,
    create_segment,
    open_segment,
    remove_segment,
)
from ribcage.shared.plan import NexthopPlan
from ribcage.shared.process.events import EventQueue
from ribcage.shared.process.names import Names
from ribcage.shared.process.port_rings import PortRings
from ribcage.shared.refusals import REFUSALS, refused

PAGE = Path(__file__).resolve().parent.parent / "docs" / "errors.md"
GAP = "…"


@cache
def page() -> dict[str, tuple[str, list[str]]]:
    """Code -> (what to do, the forms of its message), as a reader of docs/errors.md finds them."""
    found = {}
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| [EW]", line):
            code, _, remedy, said = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:5])
            forms = re.findall(r"``\s(.*?)\s``|`([^`]+)`", said.replace("\\|", "|"))
            found[code] = (remedy, [one or other for one, other in forms])
    return found


def fits(message: str, form: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, form.split(GAP))), message, re.S) is not None


def told(error: RibcageError) -> None:
    """The message is one of the page's, and there is something to do about it."""
    _, forms = page()[error.code]
    assert any(fits(error.message, form) for form in forms), f"{error.code}: {error.message}"
    assert error.hint


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    made = Names(f"e{uuid.uuid4().hex[:12]}", tmp_path)
    made.make_run_dir()
    yield made
    for name in (made.fib, made.rib):
        remove_segment(name)
    with suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_semaphore(made.writer_semaphore)


def rib() -> Rib:
    made = Rib.private(RibParams(100, 3, 8))
    made.nexthop_intern(BLACKHOLE)
    return made


def full_sets() -> None:
    table = rib()
    for gateway in range(1, 9):
        table.nexthop_intern(resolve(Topology(), None, "prohibit", []))
        table.nexthop_intern(UNREACHABLE)
        table.nexthop_put(gateway, BLACKHOLE)


def unpublished() -> None:
    table = Rib.private(RibParams(10_000, 8, 16))
    table.nexthop_intern(BLACKHOLE)
    for i in range(lib.RIB_JOURNAL + 1):
        table.apply_rows([row_of(f"10.{i >> 8}.{i & 255}.0/24", 1)])
    table.pending(new_rows(1), 1)


def stale() -> None:
    table = rib()
    old = table.mark_stale(6)
    table.mark_stale(6)
    table.sweep(6, old, new_rows(1), 1)


def via(*hops: NexthopPlan) -> Callable[[], object]:
    return lambda: resolve(Topology(), None, "forward", hops)


def parsed(line: bytes) -> None:
    """ProtocolError is told to a client, which raises it as the same code and message."""
    try:
        parse_request(line)
    except ProtocolError as error:
        raise RibcageError(error.code, str(error)) from error


PURE: list[tuple[str, Callable[[], object]]] = [
    ("E_ADDRESS", lambda: packed_address("10.0.1")),
    ("E_ADDRESS", lambda: parse_address("10.0.1")),
    ("E_CURSOR", lambda: rib().walk("zz")),
    ("E_FIB_PARAMS", lambda: FibParams(max_groups=40_000).segment_size()),
    ("E_GROUP", lambda: Group(FibKind.FORWARD, (1,) * 300).to_c(1)),
    ("E_HOST_BITS", lambda: parse_prefix("10.0.0.1/8")),
    ("E_INSTANCE", lambda: Names("no blanks", Path("/tmp"))),
    ("E_INTERFACE", via(NexthopPlan(dev="eth9"))),
    ("E_JOURNAL", unpublished),
    ("E_LAYOUT", lambda: strategy_name(99)),
    ("E_LIMIT", lambda: Rib.private(RibParams(max_rows=0))),
    ("E_MAC", lambda: mac_of("02:00")),
    ("E_NAMES", lambda: Names.from_json(3)),
    ("E_NAMES", lambda: Names.from_json({"instance": "r1"})),
    ("E_NEXTHOP", via(NexthopPlan(via="10.0.0.9"))),
    ("E_NEXTHOP", via(NexthopPlan(via="224.0.0.1"))),
    ("E_NEXTHOP", lambda: rib().set_dead(7, True)),
    ("E_NEXTHOPS", via()),
    ("E_NEXTHOPS", lambda: parse_nexthops("eth1")),
    ("E_NEXTHOPS", lambda: parse_nexthops([{}] * 40)),
    ("E_NEXTHOPS", full_sets),
    ("E_PARAMS", lambda: parsed(b'{"jsonrpc": "2.0", "id": 1, "method": "a", "params": 3}')),
    ("E_PARSE", lambda: parsed(b"nonsense")),
    ("E_PORT", lambda: PortRings.from_json({})),
    ("E_PORT", lambda: Port(1, "eth1", addresses=(None,) * 99).to_c()),  # type: ignore[arg-type]
    ("E_PREFIX", lambda: parse_prefix("here")),
    ("E_PREFIX", lambda: parse_prefix(3)),
    ("E_QUEUE", lambda: EventQueue.open(0x7FFFFFF1)),
    ("E_RANGE", lambda: parse_number({"ttl": 300}, "ttl", 64, 0, 255)),
    ("E_STALE", stale),
    ("E_SYNC", lambda: open_semaphore(0x7FFFFFF1)),
    ("E_TYPE", lambda: parse_word({"wait": "long"}, "wait", "none", ("none",))),
    ("E_WEIGHT", via(NexthopPlan(via="10.0.0.9", weight=0))),
]


@pytest.mark.parametrize(("code", "provoke"), PURE)
def test_a_wrong_value_is_told_as_the_page_says(code: str, provoke: Callable[[], object]) -> None:
    """What a person or a client may send: code, message and hint are those of docs/errors.md."""
    with pytest.raises(RibcageError) as caught:
        provoke()
    assert caught.value.code == code
    told(caught.value)


def test_what_the_system_has_not_is_told_as_the_page_says(names: Names) -> None:
    """Segments, the run directory, the management socket, another control process."""
    file = names.run_dir / "file"
    file.touch()
    create_segment(names.fib, 4096).close()
    with closing(WriterGuard(names)):
        provoked: list[tuple[str, Callable[[], object]]] = [
            ("E_ABSENT", lambda: open_segment(names.rib, SegmentKind.RIB)),
            ("E_INITIALISING", lambda: open_segment(names.fib, SegmentKind.FIB)),
            ("E_EXISTS", lambda: create_segment(names.fib, 4096)),
            ("E_MAP", lambda: create_segment(names.rib, 1 << 50)),
            ("E_LOCKED", lambda: WriterGuard(names)),
            ("E_NO_DAEMON", lambda: ManagementClient(names.run_dir / "none").call("version")),
            ("E_RUN_DIR", Names("x", file).make_run_dir),
            ("E_SOCKET", lambda: make_listener(file, 0o600, None)),
            ("E_SOCKET", lambda: make_listener(Path("/" + "a" * 200), 0o600, None)),
            ("E_GROUP", lambda: make_listener(names.run_dir / "s", 0o600, "no-such-group")),
        ]
        for code, provoke in provoked:
            with pytest.raises(RibcageError) as caught:
                provoke()
            assert caught.value.code == code, caught.value
            told(caught.value)


@pytest.mark.parametrize(("call", "number"), REFUSALS)
def test_an_errno_is_told_as_the_page_says(call: str, number: int) -> None:
    """Every row of shared/refusals.py, filled in: its message stands on the page."""
    row = REFUSALS[call, number]
    words = {name for _, name, _, _ in string.Formatter().parse(row.message + (row.hint or ""))}
    error = refused(call, -number, **{name: 4 for name in words if name not in (None, "why")})
    assert error.code == row.code
    told(error)
    assert "{" not in error.message + str(error.hint)
    assert os.strerror(number) in error.message or "{why}" not in row.message or number == 0


def test_an_unknown_call_is_a_bug_and_says_so() -> None:
    """E_INTERNAL with the errno in words, and never a KeyError."""
    error = refused("nobody_knows", -22)
    assert (error.code, error.message) == ("E_INTERNAL", "nobody_knows: Invalid argument")
    told(error)


def test_an_error_without_a_hint_gets_the_one_of_its_code() -> None:
    """What `ribcage help error` says, as a sentence's part; a closer hint stays."""
    for code, (_, remedy) in CODES.items():
        hint = RibcageError(code, "what happened").hint
        assert hint is not None and hint.lower() == remedy.rstrip(".").lower()
    assert RibcageError("E_RANGE", "ttl is 300", "0 to 255").hint == "0 to 255"
    assert RibcageError("E_OF_ANOTHER_BUILD", "what happened").hint is None


def test_a_hint_does_not_send_to_a_hint() -> None:
    """What stands behind a message as its hint must not refer to "the hint", which is itself."""
    assert [code for code, (_, remedy) in CODES.items() if "the hint" in remedy] == []
    assert [code for code, (_, remedy) in CODES.items() if "the message" in remedy.lower()] == []


def test_the_page_lists_every_code_and_what_most_of_them_say() -> None:
    """Three columns are the codes' own; only codes that pass through have no form of their own."""
    assert page().keys() == CODES.keys()
    silent = {code for code, (_, forms) in page().items() if code.startswith("E_") and not forms}
    assert silent <= {"E_CHANNEL", "E_CONFIG", "E_REQUEST", "E_UNKNOWN"}
