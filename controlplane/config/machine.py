"""What this machine offers: CPUs, groups, kernel limits. A configuration may ask for too much.

`Machine.here()` reads it; tests and `config check` for another machine make a Machine of their
own. Reads /sys and /proc only, never fails: what cannot be read is assumed usual.
"""

import grp
import os
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MSGMNB = 16384  # Linux, MSGMNB in <linux/msg.h>


@dataclass(frozen=True, slots=True)
class Machine:
    """CPUs by number, the kernel's bound on a SysV queue in bytes, the groups and the users (None:
    ask)."""

    cpus: tuple[int, ...] = (0, 1)
    msgmnb: int = DEFAULT_MSGMNB
    groups: frozenset[str] | None = None
    users: frozenset[str] | None = None

    @classmethod
    def here(cls) -> "Machine":
        return cls(_cpus(), _number(Path("/proc/sys/kernel/msgmnb"), DEFAULT_MSGMNB))

    def cpu_text(self) -> str:
        """ "CPUs 0-1", "CPU 0", "CPUs 0-3,8"."""
        runs: list[list[int]] = []
        for cpu in self.cpus:
            if runs and cpu == runs[-1][1] + 1:
                runs[-1][1] = cpu
            else:
                runs.append([cpu, cpu])
        text = ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
        return f"CPU{'' if len(self.cpus) == 1 else 's'} {text}"

    def has_group(self, name: str) -> bool:
        if self.groups is not None:
            return name in self.groups
        return _known(lambda: grp.getgrnam(name))

    def has_account(self, name: str) -> bool:
        """A user, or "@" and a group; a number always is one."""
        group, bare = name.startswith("@"), name.removeprefix("@")
        if bare.isdecimal():
            return True
        if group:
            return self.has_group(bare)
        if self.users is not None:
            return bare in self.users
        return _known(lambda: pwd.getpwnam(bare))


def _known(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (KeyError, ValueError, OSError):
        return False
    return True


def _cpus() -> tuple[int, ...]:
    try:
        text = Path("/sys/devices/system/cpu/online").read_text(encoding="ascii")
    except OSError:
        return tuple(range(os.cpu_count() or 1))
    cpus: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus) or (0,)


def _number(path: Path, default: int) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return default
