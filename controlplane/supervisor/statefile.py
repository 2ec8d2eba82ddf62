"""state.json: what this run has made and forked. It is written before the thing is made.

Use: the supervisor writes it at each change; the next supervisor reads it to adopt the living
or to remove what the dead left. Written to a temporary file and renamed, so a reader sees the
old or the new one whole. Holds no secret and no route.
"""

import errno
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

SCHEMA = 2
MAX_BYTES = 1 << 20


@dataclass(slots=True)
class ChildRecord:
    """One forked process; start (clock ticks since boot) makes the pid an identity."""

    role: str
    index: int
    pid: int
    start: int
    uid: int
    restarts: int = 0


@dataclass(slots=True)
class State:
    """What a successor has to know."""

    instance: str
    instance_id: int
    supervisor: int
    plan_digest: int = 0
    queue_key: int = 0
    queue_bytes: int = 0
    """What the kernel granted the queue: another size is somebody's doing."""
    semaphore: str = ""
    sync_key: int = 0
    """Of the System V set of `sem_undo`; 0: there is none."""
    sync_inode: int = 0
    """Of the lock words of `rwlock` and `mutex`, which have no name either."""
    shm: list[str] = field(default_factory=list)
    stats: dict[int, int] = field(default_factory=dict)
    """Worker slot -> inode of its stats object, which has no name: what a child hands back as
    such has to be that very object."""
    children: list[ChildRecord] = field(default_factory=list)
    serial: int = 0
    """Of this writing: the file and the copy in the descriptor store may differ."""
    ready: bool = False
    """The router was ready once: what there is, is taken over even when nobody lives."""
    guardian: list[int] = field(default_factory=list)
    """Pid and start time of who restarts the supervisor; empty in the foreground."""
    ports: list[dict[str, Any]] = field(default_factory=list)
    """The known ports, as PortRings: what a stored ring is of."""

    def dumps(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":"))

    users: list[int] = field(default_factory=list)
    """uids: control's, then those of worker 0, 1, ...; empty: everybody's is the supervisor's."""

    def write(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        text = self.dumps()
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            if os.write(fd, text.encode()) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
        finally:
            os.close(fd)
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path, instance: str) -> "State | None":
        """None when there is none, or when it is not one of ours: then nothing is known."""
        try:
            with path.open("rb") as file:
                return cls.parse(file.read(MAX_BYTES), instance)
        except OSError:
            return None

    @classmethod
    def parse(cls, text: bytes | str, instance: str) -> "State | None":
        """As `read`, of the copy in the descriptor store."""
        try:
            return cls._decode(json.loads(text), instance)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    @classmethod
    def from_json(cls, body: dict[str, Any], instance: str) -> "State":
        """From what asdict() makes of one. KeyError, TypeError, ValueError."""
        found = cls._decode({"schema": SCHEMA, **body}, instance)
        if found is None:
            raise ValueError(f"no state of {instance}")
        return found

    @classmethod
    def _decode(cls, body: dict[str, Any], instance: str) -> "State | None":
        if body["schema"] != SCHEMA or body["instance"] != instance:
            return None
        prefix = f"/ribcage.{instance}."
        known = {one.name for one in fields(ChildRecord)}  # a newer build may have more
        names = [body["semaphore"], *body["shm"]]
        # Objects are removed by these names: only ours, and never a path.
        if not all(n == "" or (n.startswith(prefix) and n.count("/") == 1) for n in names):
            return None
        return cls(
            instance,
            int(body["instance_id"]),
            int(body["supervisor"]),
            int(body["plan_digest"]),
            int(body["queue_key"]),
            int(body["queue_bytes"]),
            body["semaphore"],
            int(body["sync_key"]),
            int(body["sync_inode"]),
            [str(name) for name in body["shm"]],
            {int(slot): int(inode) for slot, inode in body["stats"].items()},
            [
                ChildRecord(**{k: v for k, v in one.items() if k in known})
                for one in body["children"]
            ],
            int(body.get("serial", 0)),
            bool(body.get("ready", False)),
            [int(number) for number in body.get("guardian", [])],
            [dict(port) for port in body.get("ports", [])],
            [int(uid) for uid in body["users"]],
        )
