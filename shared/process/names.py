"""Every name that a router instance uses: directory, sockets, locks, shared memory, semaphore.

Use: `names = Names.resolve("r1")`, then `names.fib`, `names.supervisor_socket`, ... Several
instances live on one host because each name carries the instance. Nothing here touches the
file system except `make_run_dir` and `remove_run_dir`, which the supervisor calls. A folder a
level of trust (folders.py says who owns which):

    RUN_BASE/INSTANCE/ops/      control.sock: for whom management.mode and .group let in
                      control/  control.lock, undo.json (kernel settings), dump-control.json
                      super/    supervisor.lock, state.json (what was made), dump.json,
                                ribcage.log (of a daemon without --log-file)
                      work/     supervisor.sock: the channel, to which children come back
    STATE_BASE/INSTANCE/        rib.checkpoint (control's; outlives a reboot)
    /dev/shm/                   ribcage.INSTANCE.fib  .rib  .sync  sem.ribcage.INSTANCE.writer
                                .fib.new .rib.new (until whole)  .fib.damaged .rib.damaged
    memfd:                      ribcage.INSTANCE.stats.N, handed over, never opened by name
"""

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.refusals import refused

INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
DEFAULT_INSTANCE = "r1"
SYSTEM_RUN = Path("/run/ribcage")
SYSTEM_STATE = Path("/var/lib/ribcage")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one instance. `instance` is checked against an allow-list: it becomes part
    of paths and object names, so it can never hold a slash or be `..`."""

    instance: str
    run_base: Path
    state_base: Path | None = None

    def __post_init__(self) -> None:
        if not INSTANCE.fullmatch(self.instance):
            raise RibcageError(
                "E_INSTANCE",
                f"instance name {self.instance!r} is not 1-32 of letters, digits, '_', '.', '-' "
                "starting with a letter or digit",
                exit_code=Exit.USAGE,
            )

    @property
    def run_dir(self) -> Path:
        return self.run_base / self.instance

    @property
    def state_dir(self) -> Path:
        """What outlives a reboot; made by make_state_dir() alone, when something is put there."""
        base = self.state_base or self.run_base.with_name(f"{self.run_base.name}-state")
        return base / self.instance

    @property
    def checkpoint(self) -> Path:
        """The routes of a router that keeps them over a reboot; control's file."""
        return self.state_dir / "rib.checkpoint"

    @property
    def restored(self) -> Path:
        """The checkpoint was put in force in this run: control's note to its successors."""
        return self.control_dir / "rib.restored"

    @property
    def operators_dir(self) -> Path:
        """Whom the management socket lets in may pass; control makes the socket here."""
        return self.run_dir / "ops"

    @property
    def control_dir(self) -> Path:
        """Control's alone. Whoever is trusted more reads nothing here that it does not check."""
        return self.run_dir / "control"

    @property
    def supervisor_dir(self) -> Path:
        return self.run_dir / "super"

    @property
    def channel_dir(self) -> Path:
        """All that a worker's user can see."""
        return self.run_dir / "work"

    @property
    def folders(self) -> tuple[Path, ...]:
        return self.operators_dir, self.control_dir, self.supervisor_dir, self.channel_dir

    @property
    def supervisor_socket(self) -> Path:
        return self.channel_dir / "supervisor.sock"

    @property
    def control_socket(self) -> Path:
        return self.operators_dir / "control.sock"

    def guardian_socket(self, tag: str) -> Path:
        """Where a guardian hears its supervisor; one a guardian, by its maker's pid."""
        return self.supervisor_dir / f"guardian-{tag}.sock"

    @property
    def sockets(self) -> list[Path]:
        """All whose names the kernel has to take, the guardian's with the longest tag."""
        return [self.supervisor_socket, self.control_socket, self.guardian_socket("0" * 12)]

    @property
    def supervisor_lock(self) -> Path:
        return self.supervisor_dir / "supervisor.lock"

    @property
    def control_lock(self) -> Path:
        return self.control_dir / "control.lock"

    @property
    def state_file(self) -> Path:
        return self.supervisor_dir / "state.json"

    @property
    def supervisor_dump(self) -> Path:
        """The supervisor's view at the last SIGUSR1."""
        return self.supervisor_dir / "dump.json"

    @property
    def control_dump(self) -> Path:
        """Control's view at the last SIGUSR1."""
        return self.control_dir / "dump-control.json"

    @property
    def log_file(self) -> Path:
        """The lines of a daemon that was not told another place."""
        return self.supervisor_dir / "ribcage.log"

    @property
    def undo_file(self) -> Path:
        return self.control_dir / "undo.json"

    @property
    def fib(self) -> str:
        return f"/ribcage.{self.instance}.fib"

    @property
    def rib(self) -> str:
        return f"/ribcage.{self.instance}.rib"

    @property
    def sync(self) -> str:
        """Lock words of the strategies rwlock and mutex; exists under these alone."""
        return f"/ribcage.{self.instance}.sync"

    @staticmethod
    def fresh(segment: str) -> str:
        """What a segment is called until it is whole and takes its name."""
        return f"{segment}.new"

    @staticmethod
    def damaged(segment: str) -> str:
        """Where one that was unusable is kept for a look: the newest, and no other."""
        return f"{segment}.damaged"

    @property
    def segments(self) -> tuple[str, ...]:
        """What control makes in shared memory, under every name it may have."""
        own = (self.fib, self.rib, self.sync)
        return own + tuple(made(name) for name in own for made in (self.fresh, self.damaged))

    @property
    def writer_semaphore(self) -> str:
        return f"/ribcage.{self.instance}.writer"

    def stats(self, worker: int) -> str:
        """What /proc shows for the stats object of worker slot `worker` (0..), a memfd."""
        return f"ribcage.{self.instance}.stats.{worker}"

    def to_json(self) -> dict[str, str]:
        body = {"instance": self.instance, "run_base": str(self.run_base)}
        return body if self.state_base is None else {**body, "state_base": str(self.state_base)}

    @classmethod
    def from_json(cls, body: object) -> "Names":
        """Inverse of `to_json`; E_INSTANCE or E_NAMES on anything else."""
        if not isinstance(body, dict):
            raise RibcageError("E_NAMES", f"names must be an object, not {type(body).__name__}")
        instance, base = body.get("instance"), body.get("run_base")
        if not isinstance(instance, str) or not isinstance(base, str) or not base.startswith("/"):
            raise RibcageError("E_NAMES", "names need an instance and an absolute run_base")
        state = body.get("state_base")
        if state is not None and not (isinstance(state, str) and state.startswith("/")):
            raise RibcageError("E_NAMES", "state_base is an absolute path")
        return cls(instance, Path(base), None if state is None else Path(state))

    @classmethod
    def resolve(cls, instance: str | None = None) -> "Names":
        """The names for `instance`, else $RIBCAGE_INSTANCE, else "r1".

        The base is $RIBCAGE_RUN_DIR, else /run/ribcage for root, else $XDG_RUNTIME_DIR/ribcage,
        else /tmp/ribcage-UID (whose owner `make_run_dir` checks: /tmp is open to all). Who is root
        in a user namespace alone (`unshare -rn`) has the base of the user outside, so that the
        command finds the router from both sides.

        What outlives a reboot is in $RIBCAGE_STATE_DIR, else beside the base when that was given,
        else in /var/lib/ribcage for root and ~/.local/state/ribcage for others.
        """
        name = instance or os.environ.get("RIBCAGE_INSTANCE") or DEFAULT_INSTANCE
        override = os.environ.get("RIBCAGE_RUN_DIR")
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        if override:
            base = Path(override).absolute()
        elif _owns_run():
            base = SYSTEM_RUN
        elif runtime and runtime.startswith("/"):
            base = Path(runtime) / "ribcage"
        else:
            base = Path(f"/tmp/ribcage-{_outer_uid()}")
        given = os.environ.get("RIBCAGE_STATE_DIR")
        state: Path | None = None
        if given:
            state = Path(given).absolute()
        elif not override and base == SYSTEM_RUN:
            state = SYSTEM_STATE
        elif not override:
            home = os.environ.get("XDG_STATE_HOME", "")
            state = Path(home) if home.startswith("/") else Path.home() / ".local/state"
            state /= "ribcage"
        return cls(name, base, state)

    @classmethod
    def find(cls, instance: str | None = None) -> "Names":
        """As resolve(), for who asks and does not start: where this user has no such router, but
        the system has, root's is meant. Whom management.group lets in need not know its path."""
        own = cls.resolve(instance)
        theirs = cls(own.instance, SYSTEM_RUN, SYSTEM_STATE)
        if os.environ.get("RIBCAGE_RUN_DIR") or own.run_base == SYSTEM_RUN:
            return own
        with contextlib.suppress(OSError):
            if not own.run_dir.exists() and theirs.run_dir.is_dir():
                return theirs
        return own

    def make_state_dir(self, owner: int | None = None) -> None:
        """Creates the folder that outlives a reboot, 0700 and `owner`'s (supervisor only).
        E_RUN_DIR when it is a link, or cannot be made or given away."""
        path = self.state_dir
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            info = path.lstat()
            if not stat.S_ISDIR(info.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            wanted = os.geteuid() if owner is None else owner
            if info.st_uid != wanted:
                os.chown(path, wanted, -1, follow_symlinks=False)
            path.chmod(0o700)
        except OSError as error:
            raise refused("run_dir", error.errno, path=path) from error

    def make_run_dir(self) -> None:
        """Creates the run directory (supervisor only) and its folders, all of them closed until
        folders.py gives them away. Others may pass through the directory itself, which shows
        them nothing.

        E_RUN_DIR (exit 5) when a part of it belongs to somebody else, is a link, or cannot be
        made: what is put there decides who may talk to the router.
        """
        base = 0o755 if os.geteuid() == 0 else 0o711
        for path, want in ((self.run_base, base), (self.run_dir, 0o711)):
            self._make(path, want)
            self._check_owned(path)
        # Made by the guardian, for its socket, when all of it had been removed: under our umask.
        with contextlib.suppress(OSError):
            self.run_dir.chmod(self.run_dir.stat().st_mode & 0o777 | 0o011)
        for path in self.folders:
            # Our parent is writable by us alone, so a folder that is there was made by us, and
            # given away since.
            self._make(path, 0o700)

    def _make(self, path: Path, want: int) -> None:
        try:
            path.mkdir(mode=want, parents=path == self.run_base)
            path.chmod(want)  # whatever the umask was
        except FileExistsError:
            pass
        except OSError as error:
            raise refused("run_dir", error.errno, path=path) from error

    def remove_run_dir(self) -> None:
        """Removes what is empty of it; what somebody left there stays to be looked at. So does the
        folder that outlives a reboot, unless nothing was ever put there."""
        for path in (*self.folders, self.run_dir, self.state_dir):
            with contextlib.suppress(OSError):
                path.rmdir()

    @staticmethod
    def _check_owned(path: Path) -> None:
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
            kind = "is not a directory" if not stat.S_ISDIR(info.st_mode) else "belongs to"
            owner = "" if not stat.S_ISDIR(info.st_mode) else f" uid {info.st_uid}"
            raise RibcageError(
                "E_RUN_DIR",
                f"{path} {kind}{owner}, this process has uid {os.geteuid()}",
                hint="set RIBCAGE_RUN_DIR to a directory you own",
                exit_code=Exit.PRIVILEGE,
            )
        if info.st_mode & 0o022:
            raise RibcageError(
                "E_RUN_DIR",
                f"{path} is writable by others (mode {stat.S_IMODE(info.st_mode):04o})",
                hint=f"chmod go-w {path}",
                exit_code=Exit.PRIVILEGE,
            )


def _owns_run() -> bool:
    """Root, and /run is root's: in a user namespace it belongs to a user who is not mapped."""
    if os.geteuid() != 0:
        return False
    try:
        return Path("/run").stat().st_uid == 0
    except OSError:
        return True


def _outer_uid() -> int:
    """What our uid is in the user namespace around: a line of uid_map is first, outside, count."""
    own = os.geteuid()
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
        for inside, outside, count in (map(int, line.split()) for line in lines):
            if inside <= own < inside + count:
                return outside + own - inside
    except (OSError, ValueError):
        pass
    return own
