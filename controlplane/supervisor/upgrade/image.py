"""The state of a supervisor as it crosses an exec: one JSON object in a sealed memfd.

    fd = image.seal()                    # the old build
    image = Image.parse(os.pread(...))   # the new one; E_IMAGE: what it cannot read

Descriptors stand in it by name and number: they are the same numbers on the other side. A field
that this build does not know is left alone, one that is missing has its default, so a newer and an
older build read each other as long as SCHEMA is the same. It holds no route: control keeps those.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process import message

SCHEMA = 1
IMAGE_BYTES = message.BODY_BYTES


@dataclass(slots=True)
class Image:
    """See the module's text; every value is a JSON value. `settings` is the plan's text; `child`
    objects are of carry.py; `fds` has what the others do not name: "lock", "listener",
    "sync"."""

    build: str
    python: str  # what ran it: where to go back to
    names: dict[str, Any]
    settings: str
    state: dict[str, Any]  # of statefile.py
    limits: dict[str, float] = field(default_factory=dict)
    log_file: dict[str, Any] | None = None
    log_level: str = "info"
    started_ns: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    children: list[dict[str, Any]] = field(default_factory=list)
    ports: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)  # of their sockets, by port
    buckets: list[int] | None = None  # a worker for each
    stats: dict[str, int] = field(default_factory=dict)
    bells: dict[str, list[int]] = field(default_factory=dict)  # both ends, by worker
    fib: dict[str, Any] | None = None
    plan_id: int | None = None
    users: dict[str, Any] = field(default_factory=dict)  # why none, or the claims' descriptor
    fds: dict[str, int] = field(default_factory=dict)
    story: dict[str, Any] = field(default_factory=dict)
    store: dict[str, int] = field(default_factory=dict)  # our copies of what is kept for us
    manager: dict[str, Any] = field(default_factory=dict)  # who keeps it, and restarts us
    successor: list[str] = field(default_factory=list)  # with this command

    def dumps(self) -> bytes:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":")).encode()

    def seal(self) -> int:
        """A sealed memfd with all of it, close-on-exec still."""
        return message.seal(self.dumps())

    @classmethod
    def load(cls, fd: int) -> "Image":
        """From a descriptor, wherever it stands; the caller's to close. E_IMAGE."""
        try:
            return cls.parse(os.pread(fd, min(os.fstat(fd).st_size, IMAGE_BYTES), 0))
        except OSError as error:
            raise _unreadable(f"descriptor {fd}: {error.strerror}") from error

    @classmethod
    def parse(cls, raw: bytes) -> "Image":
        """E_IMAGE when this build cannot go on from it."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise _unreadable(f"not JSON: {error}") from error
        if not isinstance(body, dict) or body.get("schema") != SCHEMA:
            found = body.get("schema") if isinstance(body, dict) else type(body).__name__
            raise _unreadable(f"schema {found!r:.20}, this build reads {SCHEMA}")
        known = {one.name for one in fields(cls)}
        try:
            image = cls(**{name: value for name, value in body.items() if name in known})
            numbers = list(image.descriptors())
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise _unreadable(f"{type(error).__name__}: {error}") from error
        if not all(type(fd) is int and fd > 2 for fd in numbers):
            raise _unreadable(f"descriptors {sorted(set(map(str, numbers)))[:5]}")
        return image

    def descriptors(self) -> Iterator[int]:
        """Every number that stands in it: what has to survive the exec, and nothing else may."""
        yield from self.fds.values()
        yield from self.stats.values()
        yield from (fd for pair in self.bells.values() for fd in pair)
        yield from self.store.values()
        yield from (row["fd"] for row in self.ports)
        steering = (group["steering"] for group in self.groups.values())
        yield from (fd for fd in (*steering, self.users.get("fd", -1)) if fd != -1)
        if self.fib is not None:
            yield from (self.fib[name] for name in ("fd", "sync") if self.fib[name] >= 0)
        for child in self.children:
            yield from (child[name] for name in ("pidfd", "channel") if child[name] >= 0)
            for one in child["outbox"]:
                yield from one["fds"].values()


def _unreadable(why: str) -> RibcageError:
    return RibcageError("E_IMAGE", f"state of the other build: {why}", exit_code=Exit.INTERNAL)
