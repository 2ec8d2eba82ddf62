"""The descriptor store: copies of what the supervisor keeps for others, beyond its own death.

    store.keep("ring-2-0", fd)      # a copy goes to systemd or the guardian, in place of the last
    store.drop("ring-2-0")          # when it is given up: before or after the close, as it suits
    store.taken()                   # {name: fd} that the last supervisor had stored; ours to close
    store.text("state", "...")      # the same with a memfd of this content

Without anybody who keeps them (`ribcage run` in the foreground) nothing is kept and nothing is
taken. A name is 1 to 255 printable characters without a colon. Copies of our own serve the next
guardian, should this one die. What is stored is not closed at our death: no channel may be in it,
since its end is how a child learns that the supervisor is gone.
"""

import fcntl
import os

from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.shared.process.log import log

TEXT_BYTES = 17 << 20


class Store:
    """See the module's text. `kept`: name -> our copy."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._taken = dict(manager.taken)
        self.kept: dict[str, int] = {}
        for name, fd in self._taken.items():
            self.kept[name] = _copy(fd)

    def keep(self, name: str, fd: int) -> None:
        """Never raises: a copy less is told, not a reason to stop."""
        if not self._manager.address:
            return
        try:
            copy = _copy(fd)
        except OSError as error:
            log("error", "store.failed", name=name, error=error.strerror)
            return
        old = self.kept.pop(name, None)
        if old is not None:
            os.close(old)
            # The guardian puts the new one in the old one's place at once; systemd would have two.
            if self._manager.guardian is None:
                self._manager.remove(name)
        self.kept[name] = copy
        self._manager.store(name, copy)

    def drop(self, name: str) -> None:
        old = self.kept.pop(name, None)
        if old is not None:
            os.close(old)
            self._manager.remove(name)

    def taken(self) -> dict[str, int]:
        """Once: what came is the caller's."""
        taken, self._taken = self._taken, {}
        return taken

    def take(self, name: str) -> int | None:
        """One of what came, the caller's from now on."""
        return self._taken.pop(name, None)

    def text(self, name: str, content: str) -> None:
        """A memfd that holds `content`: a new one each time, so that nobody finds half of it."""
        if not self._manager.address:
            return
        try:
            fd = os.memfd_create(f"ribcage-{name}", os.MFD_CLOEXEC)
        except OSError as error:
            log("error", "store.failed", name=name, error=error.strerror)
            return
        try:
            raw = content.encode()
            if os.pwrite(fd, raw, 0) == len(raw):
                self.keep(name, fd)
        except OSError as error:
            log("error", "store.failed", name=name, error=error.strerror)
        finally:
            os.close(fd)

    def again(self) -> None:
        """All of it, to a new guardian."""
        for name, fd in self.kept.items():
            self._manager.store(name, fd)

    def drop_all(self) -> None:
        """An orderly end: the next start begins from nothing."""
        for name in list(self.kept):
            self.drop(name)
        for fd in self.taken().values():
            os.close(fd)


def read_text(fd: int) -> str:
    """What `text` wrote; "" for what is none."""
    try:
        return os.pread(fd, min(os.fstat(fd).st_size, TEXT_BYTES), 0).decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _copy(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
