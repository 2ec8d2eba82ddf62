"""Whether a start can work: which failures end it, with their code, instead of being tried again.

    beginning.failed(error)     # True: it is over; stop in order, then raise beginning.error
    beginning.over()            # ready once, or adopted: from here on nothing gives up

A cause that lies in the machine or in the configuration is the same at each try. All else (a
crash, a race, a process killed) may heal, and is tried again.
"""

import os
from collections.abc import Callable
from pathlib import Path

from ribcage.shared.errors import Exit, RibcageError

HOPELESS = {
    "E_ENGINE", "E_EXISTS", "E_FIB_PARAMS", "E_GROUP", "E_HUGE_PAGES", "E_INSTANCE", "E_KIND",
    "E_LAYOUT", "E_OWNER", "E_PERMISSION", "E_PLAN", "E_PRIVILEGE", "E_QUEUE", "E_RIGHTS",
    "E_RUN_DIR", "E_SHM_FULL", "E_SOCKET", "E_SYNC", "E_TAKEN", "E_TEACH",
}  # fmt: skip
RIGHTS_ONLY = {"E_PORT"}  # a port that is not there comes later; rights do not
SOCKET_PATH = 107  # sun_path without its end


class Beginning:
    """`on_failed` is called once, when the start is given up."""

    def __init__(self, on_failed: Callable[[], None] = lambda: None) -> None:
        self.open = True
        self.error: RibcageError | None = None
        self._on_failed = on_failed

    def over(self) -> None:
        self.open = False

    def failed(self, error: RibcageError) -> bool:
        """True when the start ends with this error (or ends with another one already)."""
        hopeless = error.code in HOPELESS or (
            error.code in RIGHTS_ONLY and error.exit_code == Exit.PRIVILEGE
        )
        if not self.open or not hopeless:
            return self.error is not None
        self.open, self.error = False, error
        self._on_failed()
        return True


def check_paths(paths: list[Path]) -> None:
    """E_RUN_DIR when the name of a socket would be longer than the kernel takes."""
    longest = max(paths, key=lambda path: len(os.fsencode(path)))
    size = len(os.fsencode(longest))
    if size > SOCKET_PATH:
        raise RibcageError(
            "E_RUN_DIR",
            f"{longest} has {size} bytes, the name of a socket may have {SOCKET_PATH}",
            f"RIBCAGE_RUN_DIR = a path that is {size - SOCKET_PATH} bytes shorter, or a shorter "
            "--instance",
            Exit.PRIVILEGE,
        )
