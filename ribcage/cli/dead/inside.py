"""Does something where a router's processes are: in their user, mount, IPC and network namespaces.

    place = Place.of(pid)                     # while the process lives; kept open beyond its death
    answer = place.run(lambda: clear(...))    # in a forked child; JSON values come back

A router in a lab or a container has a /dev/shm, queues and sysctls of its own, which cannot be seen
from outside. Where nothing differs the child is a plain fork. One thread only (setns).
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ribcage.shared._core import lib
from ribcage.shared.errors import RibcageError

# The user namespace first: it gives the rights for the others.
KINDS = {"user": 0x10000000, "mnt": 0x00020000, "ipc": 0x08000000, "net": 0x40000000}


@dataclass(slots=True)
class Place:
    """Descriptors of the namespaces that are not ours already."""

    fds: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, pid: int) -> Self:
        """What may not be opened is left out: then we are where we are."""
        place = cls()
        for kind in KINDS:
            path = Path(f"/proc/{pid}/ns/{kind}")
            with contextlib.suppress(OSError):
                if path.stat().st_ino != Path(f"/proc/self/ns/{kind}").stat().st_ino:
                    place.fds[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return place

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.popitem()[1])

    def run(self, action: Callable[[], Any]) -> Any:
        """What `action` returns, as JSON values; RibcageError for what it raises."""
        if not self.fds:
            return action()
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._child(action, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            raw = pipe.read()
        os.waitpid(pid, 0)
        try:
            good, answer = json.loads(raw)
        except ValueError:
            good, answer = False, "the process in the router's namespaces ended without a word"
        if not good:
            raise RibcageError("E_INTERNAL", str(answer))
        return answer

    def _child(self, action: Callable[[], Any], write: int) -> None:
        """Never returns."""
        try:
            for kind, flag in KINDS.items():
                if kind in self.fds and (error := lib.sys_setns(self.fds[kind], flag)) != 0:
                    raise OSError(-error, f"{kind} namespace: {os.strerror(-error)}")
            answer = [True, action()]
        except BaseException as error:
            answer = [False, f"{type(error).__name__}: {error}"]
        with contextlib.suppress(OSError):
            os.write(write, json.dumps(answer).encode())
        os._exit(0)
