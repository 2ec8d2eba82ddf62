"""The management wire: bytes to requests and back, without a socket."""

import json
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ribcage.controlplane.management.protocol import (
    LineBuffer,
    ProtocolError,
    Request,
    encode_error,
    encode_result,
    parse_request,
)
from ribcage.shared.errors import RibcageError


@given(
    lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_lines_do_not_depend_on_the_cuts(lines: list[bytes], cuts: list[int]) -> None:
    """However the stream is cut, the same lines come out, and the rest stays pending."""
    stream = b"".join(line + b"\n" for line in lines) + b"rest"
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    buffer = LineBuffer(64)
    found = [line for start, end in pairwise(places) for line in buffer.feed(stream[start:end])]
    assert (found, buffer.pending, buffer.overrun) == (lines, 4, False)


@given(length=st.integers(0, 40), step=st.integers(1, 50), tail=st.booleans())
def test_a_line_at_the_limit_passes_and_one_beyond_does_not(
    length: int, step: int, tail: bool
) -> None:
    """Exactly `limit` bytes are a line, with or without its end in sight."""
    buffer = LineBuffer(20)
    stream = b"ok\n" + b"x" * length + b"\n" * tail
    found: list[bytes] = []
    for at in range(0, len(stream), step):
        found += buffer.feed(stream[at : at + step])
    assert buffer.overrun == (length > 20)
    assert found == [b"ok"] + [b"x" * length] * (tail and length <= 20)
    assert buffer.pending <= 20


def request(**fields: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "m"} | fields).encode()


def test_a_request_is_understood() -> None:
    """Numbers and strings as id, params optional."""
    assert parse_request(request()) == Request(1, "m", {})
    assert parse_request(request(id="a", params={"x": [1]})) == Request("a", "m", {"x": [1]})


@pytest.mark.parametrize(
    ("line", "number", "id"),
    [
        (b"garbage", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 60000, -32700, None),
        (b'{"id": NaN}', -32700, None),
        (b'{"id": ' + b"9" * 5000 + b"}", -32700, None),
        (b"[1, 2]", -32600, None),
        (b"null", -32600, None),
        (b"{}", -32600, None),
        (request(id=None), -32600, None),
        (request(id=True), -32600, None),
        (request(id=1.5), -32600, None),
        (request(id="x" * 65), -32600, None),
        (request(jsonrpc="1.0"), -32600, 1),
        (request(method=7), -32600, 1),
        (request(params=[1]), -32602, 1),
    ],
)
def test_what_is_no_request_is_named(line: bytes, number: int, id: int | None) -> None:
    """Each with its JSON-RPC number; only what is not JSON costs the framing."""
    with pytest.raises(ProtocolError) as caught:
        parse_request(line)
    assert (caught.value.number, caught.value.id) == (number, id)
    assert caught.value.framing == (number == -32700)


@given(st.binary(max_size=200))
def test_no_bytes_lead_to_another_exception(line: bytes) -> None:
    """A request or a ProtocolError, whatever arrives."""
    try:
        parse_request(line)
    except ProtocolError:
        return


def test_replies_are_one_line_of_ascii() -> None:
    """Results and errors survive newlines, quotes and lone surrogates."""
    for line in (
        encode_result(1, {"text": 'a\n"\ud800é'}),
        encode_error(None, RibcageError("E_X", "a\nb", "hint", 5)),
    ):
        assert line.count(b"\n") == 1 and line.isascii()
    assert json.loads(line)["error"] == {
        "code": 5,
        "message": "a\nb",
        "data": {"code": "E_X", "hint": "hint", "exit": 5},
    }


@pytest.mark.parametrize("result", [float("nan"), {1, 2}, object()])
def test_a_result_that_is_not_json_is_an_error_here(result: object) -> None:
    """It never reaches the wire as something a client cannot read."""
    with pytest.raises((TypeError, ValueError)):
        encode_result(1, result)
