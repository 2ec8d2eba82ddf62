"""Whose files may become the supervisor: those that root, or its own user, alone can change.

    python = interpreter("/opt/ribcage-0.2")      # .../bin/python3; E_UPGRADE says what is wrong

Control asks for an upgrade, and control may be taken over by somebody on the network: it must not
be able to name a program of its own. So each folder on the way to the interpreter, also through
links, belongs to root or to us and is writable by nobody else, or has the sticky bit (/tmp).
"""

import os
import re
import stat
from pathlib import Path

from ribcage.shared.errors import Exit, RibcageError

MOST_LINKS = 16
PYTHON = re.compile(r"python3?(\.\d+)?")
"""Any other program of root's would run as well, with our words as its arguments."""


def interpreter(named: str) -> str:
    """The Python that is meant by a path of one or of an environment, safe to run as this user."""
    path = Path(named)
    if not path.is_absolute() or "\0" in named or len(named) > 1024:
        raise refused(f"{named!r:.100} is not an absolute path")
    try:
        found = path
        if path.is_dir():
            choices = [path / "bin" / name for name in ("python3", "python")]
            found = next((one for one in choices if one.exists()), choices[0])
        _check_way(found)
        real = found.resolve(strict=True)
        home = found.parent.parent
        if (home / "pyvenv.cfg").exists():
            for path in (home / "pyvenv.cfg", *home.glob("lib/python3*/site-packages")):
                _check_way(path)
    except OSError as error:
        raise refused(f"{found}: {error.strerror}") from error
    if not os.access(found, os.X_OK) or not found.is_file():
        raise refused(f"{found} is no program")
    if not PYTHON.fullmatch(real.name):
        raise refused(f"{found} is {real}, which is no Python")
    return str(found)


def _check_way(path: Path) -> None:
    """Every name on the way and every link's target. OSError when there is no such file."""
    todo, seen = [path], 0
    while todo:
        one = todo.pop()
        for part in (one, *one.parents):
            info = part.lstat()
            if stat.S_ISLNK(info.st_mode):
                seen += 1
                if seen > MOST_LINKS:
                    raise refused(f"{path} has too many links")
                # What comes after the link is looked at through its target.
                rest = one.relative_to(part)
                todo.append(Path(os.path.normpath(part.parent / part.readlink())) / rest)
            _check(part, info)


def _trusted() -> set[int]:
    """Root and we. In a user namespace root outside is nobody in particular; the processes of a
    router there are all one user's, who has nothing to win from another of them."""
    outer = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    whole = outer == ["0", "0", "4294967295"]
    overflow = Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii")
    return {0, os.geteuid()} | (set() if whole else {int(overflow)})


def _check(part: Path, info: os.stat_result) -> None:
    if info.st_uid not in _trusted():
        raise refused(f"{part} belongs to uid {info.st_uid}")
    sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    if info.st_mode & 0o022 and not sticky and not stat.S_ISLNK(info.st_mode):
        raise refused(f"{part} is writable by others (mode {stat.S_IMODE(info.st_mode):04o})")


def refused(why: str, hint: str | None = None) -> RibcageError:
    """The upgrade does not begin, or does not go on; nothing was changed by this step."""
    return RibcageError("E_UPGRADE", why, hint, Exit.NO)
