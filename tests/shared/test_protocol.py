"""Two builds on one channel: the highest common version, or a refusal that names both."""

import json
import socket
from dataclasses import replace

import pytest

from ribcage.shared.build import build_id
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.channel import Channel, pair
from ribcage.shared.process.message import ChannelError
from ribcage.shared.protocol import HIGH, LOW, MINOR, Speaks, agree, ours


@pytest.mark.parametrize(
    ("mine", "theirs", "version"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 3), (2, 5), 3),  # we are the older one
        ((2, 5), (1, 3), 3),  # and the newer one
        ((1, 2), (2, 2), 2),
        ((4, 9), (1, 4), 4),
    ],
)
def test_the_highest_common_version_is_spoken_whoever_is_newer(
    mine: tuple[int, int], theirs: tuple[int, int], version: int
) -> None:
    """Both sides come to the same answer by themselves."""
    left, right = Speaks(*mine, build="a"), Speaks(*theirs, build="b")
    assert agree(left, right) == agree(right, left) == version


@pytest.mark.parametrize(("mine", "theirs"), [((1, 1), (2, 3)), ((2, 3), (1, 1))])
def test_without_a_common_version_both_builds_are_named(
    mine: tuple[int, int], theirs: tuple[int, int]
) -> None:
    """E_BUILDS, exit 7, with both ranges."""
    with pytest.raises(RibcageError) as refused:
        agree(Speaks(*mine, build="aaaa"), Speaks(*theirs, build="bbbb"))
    assert (refused.value.code, refused.value.exit_code) == ("E_BUILDS", 7)
    for word in ("aaaa", "bbbb", f"{mine[0]} to {mine[1]}", f"{theirs[0]} to {theirs[1]}"):
        assert word in refused.value.message


def test_what_a_hello_says_comes_back() -> None:
    """This build's own range, through JSON."""
    body = json.loads(json.dumps({"protocol": ours().to_json()}))
    assert Speaks.of(body) == ours() == Speaks(LOW, HIGH, MINOR, build_id())


def test_a_hello_without_a_range_is_of_the_build_before_there_was_one() -> None:
    """It speaks version 1, and knows no addition."""
    assert Speaks.of({}) == Speaks(1, 1, 0, "")
    assert not Speaks.of({}).newer_than(ours())
    assert replace(ours(), minor=MINOR + 1).newer_than(ours())
    assert not ours().newer_than(ours())


@pytest.mark.parametrize(
    "body",
    [
        [], "1", {}, {"low": 2, "high": 1, "minor": 0, "build": ""},
        {"low": 0, "high": 1, "minor": 0, "build": ""},
        {"low": True, "high": 1, "minor": 0, "build": ""},
        {"low": 1, "high": 10**9, "minor": 0, "build": ""},
        {"low": 1, "high": 1, "minor": 0, "build": 7},
        {"low": 1, "high": 1.5, "minor": 0, "build": ""},
    ],
)  # fmt: skip
def test_a_range_that_is_none_is_refused(body: object) -> None:
    """It comes from less trusted processes: nothing but E_BUILDS."""
    with pytest.raises(RibcageError, match="protocol"):
        Speaks.of({"protocol": body})


def test_a_hello_of_any_version_is_read_and_nothing_else_is() -> None:
    """Two builds that cannot talk can still say who they are."""
    raw, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(theirs)
    with raw:
        raw.send(json.dumps({"v": HIGH + 7, "type": "hello", "role": "worker"}).encode())
        message = channel.recv()
        assert message is not None and message.type == "hello"
        raw.send(json.dumps({"v": HIGH + 7, "type": "attach"}).encode())
        with pytest.raises(ChannelError, match=f"version {HIGH + 7}, this build has {LOW}"):
            channel.recv()
        raw.send(json.dumps({"v": "1", "type": "hello"}).encode())
        with pytest.raises(ChannelError, match="version 1"):
            channel.recv()
    channel.close()


def test_what_is_sent_has_the_version_that_was_agreed() -> None:
    """Also the long ones, which travel in a memfd."""
    left, right = pair()
    left.version = LOW
    assert left.send({"type": "ready"})
    message = right.recv()
    assert message is not None and message.body["v"] == LOW
    left.version = HIGH + 1  # to somebody newer: we would not read it ourselves
    left.send({"type": "ready", "text": "x" * 100_000})
    with pytest.raises(ChannelError, match=f"version {HIGH + 1}"):
        right.recv()
    left.close()
    right.close()
