"""One message of a channel: a JSON object and descriptors by name, and its bytes.

    {"v": 1, "type": "port-add", "fds": ["ring:2"], ...} + SCM_RIGHTS

A long one travels in a sealed memfd called `body`. Whatever bytes come, the outcome is a Message
or a ChannelError. Used by channel.py; any process.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ribcage.shared.errors import RibcageError
from ribcage.shared.protocol import HELLO, HIGH, LOW

VERSION = HIGH
MESSAGE_BYTES = 65536
BODY_BYTES = 64 << 20  # of a message in a memfd
MAX_FDS = 253  # SCM_MAX_FD of Linux
BODY = "body"  # name of the memfd that carries a long message
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class ChannelError(RibcageError):
    """The peer broke the rules of the channel; what it sent was thrown away and counted."""

    def __init__(self, message: str) -> None:
        super().__init__("E_CHANNEL", message)


class ChannelClosed(ChannelError):
    """The peer is gone (end of file, or a reset)."""


@dataclass(slots=True)
class Message:
    """One message: `body` is the whole object, `fds` the descriptors by name.

    The receiver owns the descriptors: it takes them with `take`, and `close` closes the rest.
    """

    type: str
    body: dict[str, Any]
    fds: dict[str, int] = field(default_factory=dict)

    def take(self, name: str) -> int | None:
        """The descriptor called `name`, which the caller owns from now on; None if absent."""
        return self.fds.pop(name, None)

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.popitem()[1])


def encode(message: Mapping[str, Any], names: list[str], version: int = VERSION) -> bytes:
    """The JSON text; `names` are those of the descriptors beside it, `version` what both speak."""
    body = {"v": version, **message}
    if names:
        body["fds"] = names
    return json.dumps(body, separators=(",", ":")).encode()


def decode(raw: bytes, fds: list[int], long: bool = True) -> Message:
    """`long`: what came may stand in a memfd. Closes descriptors only where it returns."""
    body = _object(raw)
    names = body.get("fds", [])
    if not isinstance(names, list) or not all(isinstance(n, str) and len(n) < 64 for n in names):
        raise ChannelError("fds is not a list of short names")
    if len(names) != len(fds) or len(set(names)) != len(names):
        raise ChannelError(f"{len(fds)} descriptors came for {len(names)} names")
    named = dict(zip(names, fds, strict=True))
    if BODY in named and not long:
        raise ChannelError("a long message, where none is expected")
    if BODY in named:
        body = _object(_unseal(named[BODY]))
        os.close(named.pop(BODY))
        fds[:] = list(named.values())  # a refusal below must not close the memfd twice
    kind, version = body.get("type"), body.get("v")
    if not isinstance(kind, str) or not 0 < len(kind) <= 64:
        raise ChannelError("message without a type")
    if type(version) is not int or not (LOW <= version <= HIGH or kind == HELLO):
        raise ChannelError(
            f"message of version {str(version)[:32]}, this build has {LOW} to {HIGH}"
        )
    return Message(kind, body, named)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ChannelError(f"not JSON: {str(error)[:80]}") from error
    if not isinstance(body, dict):
        raise ChannelError(f"a message is an object, not {type(body).__name__}")
    return body


def seal(raw: bytes) -> int:
    if len(raw) > BODY_BYTES:
        raise ChannelError(f"message of {len(raw)} bytes, at most {BODY_BYTES}")
    fd = os.memfd_create("ribcage-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(raw)
    while view:
        view = view[os.write(fd, view) :]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def _unseal(fd: int) -> bytes:
    # The seals prove that it is memory: reading can neither block nor change under our feet.
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ChannelError("the body is no memfd") from error
    size = os.fstat(fd).st_size
    if seals & SEALS != SEALS or size > BODY_BYTES:
        raise ChannelError(f"the body has seals {seals:#x} and {size} bytes")
    return os.pread(fd, size, 0)


def close_all(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
