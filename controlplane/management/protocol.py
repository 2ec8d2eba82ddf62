"""The management protocol: JSON-RPC 2.0, one object per line, UTF-8, LF. Pure functions.

    {"jsonrpc":"2.0","id":1,"method":"route.add","params":{...}}\n
    {"jsonrpc":"2.0","id":1,"result":{...}}\n
    {"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"...","data":{"code":"E_NO_ROUTE",
                                                     "hint":"..."|null,"exit":1}}}\n

Narrower than JSON-RPC: `id` is required (a whole number or a string of up to 64 characters, so
every request has its reply), `params` is an object, no batches. error.code is the exit status the
command line ends with, or one of JSON-RPC's own below; data.code is the stable name.

A line longer than the cap, or one that is no JSON, means that the framing is lost: the reply has
id null and the connection ends. Anything else wrong with a request leaves it open.
"""

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ribcage.shared.errors import Exit, RibcageError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

MAX_ID = 64
Id = int | str | None


@dataclass(frozen=True, slots=True)
class Request:
    id: Id
    method: str
    params: dict[str, Any]


class ProtocolError(Exception):
    """Not a request. `framing`: where the next one begins is not known either."""

    def __init__(self, number: int, code: str, message: str, id: Id = None) -> None:
        super().__init__(message)
        self.number = number
        self.code = code
        self.id = id

    @property
    def framing(self) -> bool:
        return self.number == PARSE_ERROR


@dataclass(slots=True)
class LineBuffer:
    """Bytes in, whole lines out. Holds at most `limit` bytes of an unfinished line; `overrun` is
    set when a line is longer, and from then on nothing more comes out."""

    limit: int
    overrun: bool = False
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[bytes]:
        if self.overrun:
            return []
        if b"\n" not in data:  # the long way would look at the whole rest for every byte
            self._rest += data
            lines: list[bytes] = []
        else:
            first, *others = data.split(b"\n")
            lines = [bytes(self._rest) + first, *others[:-1]]
            self._rest = bytearray(others[-1])
        for i, line in enumerate(lines):
            if len(line) > self.limit:
                self._overrun()
                return lines[:i]
        if len(self._rest) > self.limit:
            self._overrun()
        return lines

    @property
    def pending(self) -> int:
        """Bytes of the unfinished line."""
        return len(self._rest)

    def _overrun(self) -> None:
        self.overrun = True
        self._rest = bytearray()


def parse_request(line: bytes) -> Request:
    """The request on one line; ProtocolError says what is wrong and whether framing is lost."""
    try:
        body = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(PARSE_ERROR, "E_PARSE", f"not JSON: {str(error)[:120]}") from None
    if not isinstance(body, dict):
        raise _invalid("a request is an object, not " + type(body).__name__)
    id = body.get("id")
    if isinstance(id, bool) or not isinstance(id, int | str) or len(str(id)) > MAX_ID:
        raise _invalid(f"id has to be a whole number or a string of at most {MAX_ID} characters")
    if body.get("jsonrpc") != "2.0":
        raise _invalid('jsonrpc has to be "2.0"', id)
    method = body.get("method")
    if not isinstance(method, str):
        raise _invalid("method has to be a string", id)
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError(INVALID_PARAMS, "E_PARAMS", "params has to be an object", id)
    return Request(id, method, params)


def encode_result(id: Id, result: Any) -> bytes:
    """One line; ValueError or TypeError when the result is not JSON."""
    return _line({"jsonrpc": "2.0", "id": id, "result": result})


def encode_error(id: Id, error: RibcageError, number: int | None = None) -> bytes:
    """One line. `number` is error.code; the error's exit status unless given."""
    data = {"code": error.code, "hint": error.hint, "exit": error.exit_code}
    body = {"code": error.exit_code if number is None else number, "message": error.message}
    return _line({"jsonrpc": "2.0", "id": id, "error": {**body, "data": data}})


def encode_protocol_error(error: ProtocolError) -> bytes:
    named = RibcageError(error.code, str(error), None, Exit.USAGE)
    return encode_error(error.id, named, error.number)


def _line(body: dict[str, Any]) -> bytes:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def _invalid(message: str, id: Id = None) -> ProtocolError:
    return ProtocolError(INVALID_REQUEST, "E_REQUEST", message, id)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
