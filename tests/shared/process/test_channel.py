"""The channel: whole messages, named descriptors, and nothing but ChannelError from a peer."""

import array
import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.shared.process.channel import OUTBOX, Channel, pair
from ribcage.shared.process.message import (
    MESSAGE_BYTES,
    VERSION,
    ChannelClosed,
    ChannelError,
    Message,
)
from ribcage.shared.process.reconnect import Reconnector


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    left, right = pair()
    yield left, right
    left.close()
    right.close()


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def raw_pair() -> tuple[socket.socket, Channel]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return left, Channel(right)


def test_a_message_arrives_whole_with_its_descriptors_by_name(
    ends: tuple[Channel, Channel],
) -> None:
    """What was sent is what arrives; descriptors are close-on-exec and the receiver's own."""
    left, right = ends
    read_end, write_end = os.pipe()
    assert left.send({"type": "attach", "index": 3}, {"bell": write_end})
    os.close(write_end)
    message = right.recv()
    assert message is not None
    assert (message.type, message.body["index"], list(message.fds)) == ("attach", 3, ["bell"])
    bell = message.take("bell")
    assert bell is not None
    assert fcntl.fcntl(bell, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.write(bell, b"x")
    assert os.read(read_end, 1) == b"x"
    os.close(bell)
    os.close(read_end)
    assert right.recv() is None


@given(
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20) | st.none()),
    st.text(min_size=1, max_size=64),
)
def test_what_is_sent_is_what_is_received(body: dict[str, object], kind: str) -> None:
    """Round trip of any JSON object with a type."""
    left, right = pair()
    try:
        sent = {k: v for k, v in body.items() if k not in ("v", "fds")} | {"type": kind}
        assert left.send(sent)
        message = right.recv()
        assert message is not None
        assert message.body == {**sent, "v": VERSION}
    finally:
        left.close()
        right.close()


def test_a_message_longer_than_a_datagram_arrives_too(ends: tuple[Channel, Channel]) -> None:
    """A plan with many routes exceeds a datagram: it travels in a sealed memfd."""
    left, right = ends
    before = open_fds()
    text = "x" * (3 * MESSAGE_BYTES)
    assert left.send({"type": "attach", "plan": text}, {"bell": 0})
    message = right.recv()
    assert message is not None
    assert (message.body["plan"], list(message.fds)) == (text, ["bell"])
    message.close()
    assert open_fds() == before


def test_a_peer_that_does_not_read_never_blocks_the_sender(ends: tuple[Channel, Channel]) -> None:
    """send says False, post keeps messages in order up to a bound, flush sends them later."""
    left, right = ends
    sent = 0
    while left.send({"type": "n", "i": sent, "pad": "x" * 4000}):
        sent += 1
    assert left.unsent == 1
    left.post({"type": "late", "i": sent}, {"fd": 0})
    left.post({"type": "late", "i": sent + 1})
    assert left.pending == 2
    got: list[int] = []
    while len(got) < sent + 2:
        left.flush()
        message = right.recv()
        if message is not None:
            got.append(message.body["i"])
            message.close()
    assert got == list(range(sent + 2))
    assert left.pending == 0


def test_the_outbox_is_bounded(ends: tuple[Channel, Channel]) -> None:
    """A hung peer costs OUTBOX messages and then an error, not memory."""
    left, _ = ends
    while left.send({"type": "n", "pad": "x" * 4000}):
        pass
    for _ in range(OUTBOX):
        left.post({"type": "late", "pad": "x" * 4000})
    with pytest.raises(ChannelError):
        left.post({"type": "late", "pad": "x" * 4000})


def test_the_end_of_the_peer_is_channel_closed(ends: tuple[Channel, Channel]) -> None:
    """Both directions say ChannelClosed once the other end is gone."""
    left, right = ends
    left.close()
    with pytest.raises(ChannelClosed):
        right.recv()
    with pytest.raises(ChannelClosed):
        right.send({"type": "x"})


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"1",
        b"null",
        b"\xff\xfe",
        b"[" * 60000,
        b'{"v":2,"type":"x"}',
        b'{"v":1}',
        b'{"v":1,"type":""}',
        b'{"v":1,"type":7}',
        b'{"v":1,"type":"x","fds":["a"]}',
        b'{"v":1,"type":"x","fds":"a"}',
        b'{"v":1,"type":"x","fds":[1]}',
        b'{"v":1,"type":"x","n":' + b"9" * 5000 + b"}",
        b"x" * (MESSAGE_BYTES + 1),
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_a_broken_message_is_refused_and_the_next_one_arrives(raw: bytes) -> None:
    """Refused, counted, and the channel goes on."""
    sender, receiver = raw_pair()
    with contextlib.closing(sender), contextlib.closing(receiver):
        sender.send(raw)
        sender.send(json.dumps({"v": 1, "type": "next"}).encode())
        with pytest.raises(ChannelError):
            receiver.recv()
        assert receiver.refused == 1
        message = receiver.recv()
        assert message is not None
        assert message.type == "next"


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=300), st.integers(0, 4), st.booleans())
def test_random_bytes_raise_nothing_but_channel_errors(raw: bytes, fds: int, body: bool) -> None:
    """Whatever a peer sends, with descriptors or without, nothing leaks and nothing else rises."""
    sender, receiver = raw_pair()
    before = open_fds()
    if body:  # near misses: right frame, random content
        raw = json.dumps({"v": 1, "type": raw.decode("latin1"), "fds": ["body"] * fds}).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * fds))] if fds else []
    try:
        sender.sendmsg([raw], rights)
        try:
            message = receiver.recv()
        except ChannelError:
            pass
        else:
            assert isinstance(message, Message)
            message.close()
        assert open_fds() == before
    finally:
        sender.close()
        receiver.close()


def test_a_body_that_could_block_or_change_is_refused() -> None:
    """A pipe, or a memfd without seals, as the body of a long message: refused, closed."""
    for fd in (os.pipe()[0], os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)):
        sender, receiver = raw_pair()
        before = open_fds()
        head = json.dumps({"v": 1, "type": "x", "fds": ["body"]}).encode()
        sender.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        with pytest.raises(ChannelError):
            receiver.recv()
        assert open_fds() == before
        sender.close()
        receiver.close()
        os.close(fd)


def test_a_reconnector_finds_the_successor_and_gives_up_in_time(tmp_path: Path) -> None:
    """None while nobody listens, a channel once somebody does, expired after the timeout."""
    now = 0.0
    path = tmp_path / "s"
    search = Reconnector(path, 5.0, clock=lambda: now)
    assert search.attempt() is None
    now = 0.01
    assert search.attempt() is None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(4)
    assert search.attempt() is None  # not before the pause is over
    assert search.deadline() == 0.05
    now = 0.06
    channel = search.attempt()
    assert channel is not None
    assert not search.expired
    peer = Channel(listener.accept()[0])
    channel.send({"type": "hello", "again": True})
    message = peer.recv()
    assert message is not None
    assert message.body["again"] is True
    for end in (channel, peer, listener):
        end.close()
    now = 5.0
    assert search.expired


def test_who_is_refused_again_and_again_gives_up_in_time_and_does_not_run_hot(
    tmp_path: Path,
) -> None:
    """A listener that lets nobody in: pauses grow to two seconds, the time goes on. One that died
    is another matter: the time begins anew."""
    now = 0.0
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(64)
    search = Reconnector(path, 30.0, clock=lambda: now)
    tries = 0
    while not search.expired:
        channel = search.attempt()
        if channel is not None:
            channel.close()
            search.refused()
            tries += 1
        now = max(now + 0.001, search.deadline())
    assert 15 <= tries <= 25
    assert now < 30.1
    search = Reconnector(path, 30.0, clock=lambda: now)
    begun = now
    channel = search.attempt()
    assert channel is not None
    channel.close()
    search.refused()
    listener.close()  # it was no refusal: that one died
    now = begun + 29.0
    assert search.attempt() is None
    now = begun + 31.0
    assert not search.expired


def test_what_a_peer_may_send_is_bounded_before_it_is_read() -> None:
    """Too long, with descriptors, in a memfd: refused each, no descriptor comes in, and the next
    message that keeps the bounds arrives."""
    left, right = pair()
    right.limit(512, fds=False)
    fds = len(list(Path("/proc/self/fd").iterdir()))
    assert left.send({"type": "x", "text": "y" * 600})
    with pytest.raises(ChannelError, match="cut short"):
        right.recv()
    with contextlib.suppress(ChannelClosed):  # Linux 6.16: the sender is refused at once
        left.send({"type": "x"}, {f"n{number}": 0 for number in range(200)})
        with pytest.raises(ChannelError):
            right.recv()
    with contextlib.suppress(ChannelClosed):
        left.send({"type": "x", "text": "y" * 100_000})
        with pytest.raises(ChannelError):
            right.recv()
    assert len(list(Path("/proc/self/fd").iterdir())) == fds
    assert left.send({"type": "x", "text": "y" * 400})
    message = right.recv()
    assert message is not None and message.type == "x"


def test_a_long_message_is_refused_where_none_is_expected() -> None:
    """With descriptors, but without memfds of our own size: a hello is not 64 MiB."""
    left, right = pair()
    right.limit(4096, fds=True)
    fds = len(list(Path("/proc/self/fd").iterdir()))
    assert left.send({"type": "hello", "text": "y" * 100_000})
    with pytest.raises(ChannelError, match="a long message"):
        right.recv()
    assert len(list(Path("/proc/self/fd").iterdir())) == fds
    assert left.send({"type": "hello"}, {"n": 0})
    message = right.recv()
    assert message is not None and list(message.fds) == ["n"]
    message.close()


def test_a_peer_cannot_make_our_end_wait() -> None:
    """Both ends made blocking, nothing to read, no room to send: every call comes back."""
    left, right = pair()
    for channel in (left, right):
        os.set_blocking(channel.fileno(), True)
    assert left.recv() is None
    while left.send({"type": "x", "text": "y" * 10_000}):
        pass
    assert left.unsent == 1
