"""Claims a user id a process for this instance, out of a range that all instances share.

    users = Users.claim(plan.process.users, recorded)   # recorded: of a run whose children live
    users.control; users.worker(3); users.group         # None where all keep the user there is
    users.release()

Two instances never have one uid: each uid is a locked byte of a file that all of this machine
know, and one that some process runs under is taken by nobody (children outlive the lock of a
killed supervisor). Without the rights or without mapped uids (a plain user in a user namespace has
one) everybody keeps the user there is, and `why` says so. Supervisor only.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.log import log
from ribcage.shared.process.rights import effective_capabilities, mask_of

CLAIMS = Path("/run/ribcage.users")
# To give users, to end processes of theirs, to open and remove what is theirs.
NEEDED = ("SETUID", "SETGID", "SETPCAP", "CHOWN", "KILL", "DAC_OVERRIDE", "FOWNER")
ACCOUNTS = Path("/etc/passwd")


def why_one_user(wanted: tuple[int, int] | None) -> str | None:
    """Why no process can have a user of its own here; None: each can."""
    if wanted is None:
        return 'process.users = "off"'
    mask = effective_capabilities()
    missing = [f"CAP_{name}" for name in NEEDED if not mask & mask_of(name)]
    if missing:
        return f"no {', '.join(missing)}"
    for kind in ("uid_map", "gid_map"):
        if not _mapped(Path(f"/proc/self/{kind}"), wanted):
            return f"this user namespace maps no users {wanted[0]}-{wanted[1]}"
    with contextlib.suppress(OSError):
        if Path("/proc/self/setgroups").read_text().strip() == "deny":
            return "this user namespace denies setgroups"
    return None


def _mapped(path: Path, wanted: tuple[int, int]) -> bool:
    try:
        lines = [list(map(int, line.split())) for line in path.read_text().splitlines()]
    except (OSError, ValueError):
        return False
    return any(first <= wanted[0] and wanted[1] < first + count for first, _, count in lines)


class Users:
    """See the module's text. `ids`: control's uid, then those of worker 0, 1, ...; `fd`: of the
    file with the locks, -1 without one."""

    def __init__(self, wanted: tuple[int, int] | None, why: str | None) -> None:
        self.why = why
        self.ids: list[int] = []
        self._range = range(0) if wanted is None else range(wanted[0], wanted[1] + 1)
        self.fd = -1

    @classmethod
    def claim(
        cls, wanted: tuple[int, int] | None, recorded: Iterable[int] = (), workers: int = 1
    ) -> "Users":
        """E_USERS when the range has none free for control and these workers."""
        ids = list(recorded)
        if ids:
            # The objects belong to these, and the living have them, whatever the file says now.
            users = cls(wanted, None)
            users.ids = ids
            for uid in ids:
                users._lock(uid)
            return users
        why = why_one_user(wanted)
        users = cls(wanted, why)
        try:
            if why is None:
                users.worker(workers - 1)
        except RibcageError:
            users.release()
            raise
        return users

    @classmethod
    def resume(
        cls, wanted: tuple[int, int] | None, why: str | None, ids: list[int], fd: int
    ) -> "Users":
        """Those of this process before an upgrade: `fd` holds the locks still."""
        users = cls(wanted, why)
        users.ids, users.fd = ids, fd
        return users

    @property
    def control(self) -> int | None:
        return self.ids[0] if self.ids else None

    @property
    def group(self) -> int | None:
        """All workers': the channel and the queue let it in. Its number is no user's but worker
        0's, so no other instance has it."""
        return self.ids[1] if len(self.ids) > 1 else None

    def worker(self, index: int) -> int | None:
        """Claims as many as are needed; a slot keeps its uid for as long as the router runs."""
        if self.why is not None:
            return None
        if len(self.ids) < index + 2:
            self._grow(index + 2)
        return self.ids[index + 1]

    def _grow(self, count: int) -> None:
        taken = uids_in_use() | set(self.ids)
        accounts = accounts_in(self._range)
        for uid in self._range:
            if len(self.ids) >= count:
                break
            if uid in accounts:
                log("warning", "users.account", uid=uid, account=accounts[uid],
                    what="an account has it, so no process of ours gets it")  # fmt: skip
            elif uid not in taken and self._lock(uid):
                self.ids.append(uid)
        if len(self.ids) < count:
            raise RibcageError(
                "E_USERS",
                f"{count} users are needed, and process.users has {len(self.ids)} that no other "
                "router or account has",
                "a wider range, such as process.users = "
                f'"{self._range[0]}-{self._range[-1] + 4 * count}"',
                Exit.PRIVILEGE,
            )

    def _lock(self, uid: int) -> bool:
        """Whether it is ours now. Where no file can be made, what runs decides alone."""
        while True:
            if self.fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                try:
                    self.fd = os.open(CLAIMS, flags, 0o600)
                except OSError as error:
                    log("debug", "users.claims", file=str(CLAIMS), error=error.strerror)
                    return True
            try:
                fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _flock(uid, 1))
            except OSError:
                return False
            # The last of the others may have removed the file between our open and our lock.
            with contextlib.suppress(OSError):
                if os.path.samestat(CLAIMS.lstat(), os.fstat(self.fd)):
                    return True
            os.close(self.fd)
            self.fd = -1

    def release(self) -> None:
        """Lets go of all; the last router of this machine removes the file."""
        if self.fd < 0:
            return
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _flock(0, 0))
            CLAIMS.unlink()
        os.close(self.fd)
        self.fd = -1


def _flock(start: int, length: int) -> bytes:
    return struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)


def uids_in_use() -> set[int]:
    """Every real, effective, saved and file-system uid that some process has."""
    found: set[int] = set()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            text = Path(f"/proc/{entry.name}/status").read_text(errors="replace")
            line = text.partition("\nUid:")[2].partition("\n")[0]
            found.update(int(word) for word in line.split())
    return found


def accounts_in(wanted: range) -> dict[int, str]:
    """Local accounts with a uid of the range."""
    found = {}
    with contextlib.suppress(OSError):
        for line in ACCOUNTS.read_text(errors="replace").splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[2].isdigit() and int(fields[2]) in wanted:
                found[int(fields[2])] = fields[0][:32]
    return found
