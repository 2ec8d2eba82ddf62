"""Gives each folder of the run directory to the level of trust it is for.

    give_folders(names, users, plan.management)

    ops/      control's uid, whom management.mode and .group let in may pass
    control/  control's uid, 0700
    super/    ours, 0700
    STATE/    control's uid, 0700, if there is one
    work/     ours, 0710 for the workers' group, which control belongs to as well

Each is opened without following a link, and what was opened is changed, not a name. E_RUN_DIR when
a user of ours could not come here at all.

`mend_folders` does it again, a folder that is gone included: before each control, which would else
die at every start of one file that somebody closed, gave away or put a folder in place of.
"""

import contextlib
import grp
import os
import stat
from pathlib import Path

from ribcage.controlplane.supervisor.resources.users import Users
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import ManagementPlan
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names

OURS = (".sock", ".lock", ".json", ".tmp", ".part", ".restored")
ASIDE = ".void"  # as the undo journal names what is none


def management_group(plan: ManagementPlan) -> int | None:
    """The number of management.group; None without one, or one that does not exist (control,
    which makes the socket, says so)."""
    try:
        return None if plan.group is None else grp.getgrnam(plan.group).gr_gid
    except KeyError:
        return None


def give_folders(names: Names, users: Users, plan: ManagementPlan) -> None:
    """Also repairs what a start before this one left half done."""
    if users.control is not None:
        _check_way(names.run_dir, users.control)
        if names.state_dir.is_dir() and names.state_dir.parent.parent.is_dir():
            _check_way(names.state_dir.parent.parent, users.control)
    control, group = users.control, users.group
    if control is None:
        control = os.geteuid()
    # Who may write to the socket has to reach it: x where the socket's mode has rw.
    passing = 0o700 | sum(0o1 << shift for shift in (0, 3) if plan.mode >> shift & 0o6 == 0o6)
    _give(names.operators_dir, control, management_group(plan), passing)
    _give(names.control_dir, control, users.control, 0o700)
    if names.state_dir.is_dir():  # of a router that keeps routes over a reboot
        base = names.state_dir.parent
        if users.control is not None and base.stat().st_uid == os.geteuid():
            base.chmod(base.stat().st_mode | 0o011)  # made under our umask
        _give(names.state_dir, control, users.control, 0o700)
    _give(names.supervisor_dir, os.geteuid(), None, 0o700)
    _give(names.channel_dir, os.geteuid(), group, 0o700 if group is None else 0o710)


def mend_folders(names: Names, users: Users, plan: ManagementPlan) -> None:
    """Never raises: who cannot do without says so itself."""
    try:
        names.make_run_dir()
        give_folders(names, users, plan)
    except (OSError, RibcageError) as error:
        log("error", "run_dir.unmended", path=str(names.run_dir), error=str(error))


def _give(path: Path, user: int, group: int | None, mode: int) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError as error:
        raise RibcageError(
            "E_RUN_DIR", f"{path}: {error.strerror}", exit_code=Exit.PRIVILEGE
        ) from error
    try:
        os.fchown(fd, user, -1 if group is None else group)
        os.fchmod(fd, mode)
        _give_files(fd, user)
    except PermissionError:
        # A plain user, for a group he is no member of: control says so of the socket.
        os.fchmod(fd, mode & 0o700)
    finally:
        os.close(fd)


def _give_files(folder: int, user: int) -> None:
    """What a run before this one left, under another uid perhaps: the undo journal is needed still.
    Plain files that have this one name change hands, and can be read and written by whose they are;
    whoever left them could not have made more of ours. Sockets of others go: nobody is behind
    them, and the next user could not even ask. (Root could: its guardian listens on one.) What we
    never make there, such as folders and links, stands where a file of ours belongs, and gets
    another name."""
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            kind = stat.S_IFMT(info.st_mode)
            if kind == stat.S_IFSOCK and info.st_uid != user != os.geteuid():
                os.unlink(name, dir_fd=folder)
            elif kind in (stat.S_IFREG, stat.S_IFSOCK):
                if info.st_uid != user or info.st_mode & 0o600 != 0o600:
                    _give_file(folder, name, user)
            elif name.endswith(OURS):
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=folder)
                    continue
                os.rename(name, name + ASIDE, src_dir_fd=folder, dst_dir_fd=folder)
                log("warning", "run_dir.aside", name=name, kept=name + ASIDE)


def _give_file(folder: int, name: str, user: int) -> None:
    """O_PATH opens what nobody may read, and by /proc it is that very file that changes."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        info = os.fstat(fd)
        if not stat.S_ISDIR(info.st_mode) and info.st_nlink == 1:
            itself = f"/proc/self/fd/{fd}"
            if info.st_uid != user:
                os.chown(itself, user, -1)
            if info.st_mode & 0o600 != 0o600:
                Path(itself).chmod(info.st_mode & 0o777 | 0o600)
    finally:
        os.close(fd)


def closed_to(path: Path, user: int) -> Path | None:
    """The first folder on the way to `path`, from below, that `user` cannot pass; None: none."""
    for folder in (path, *path.parents):
        info = folder.stat()
        if not info.st_mode & (stat.S_IXUSR if info.st_uid == user else stat.S_IXOTH):
            return folder
    return None


def _check_way(path: Path, user: int) -> None:
    folder = closed_to(path, user)
    if folder is not None:
        raise RibcageError(
            "E_RUN_DIR",
            f"{folder} (mode {stat.S_IMODE(folder.stat().st_mode):04o}) is closed to the users "
            f"that the router's processes get, uid {user} and others",
            hint=f'chmod o+x {folder}, another RIBCAGE_RUN_DIR, or process.users = "off"',
            exit_code=Exit.PRIVILEGE,
        )
