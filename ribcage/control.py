"""Control's entry: what it will ever import, its life, and a process that waits to be it.

    python -m ribcage.control CHANNEL      # loaded, and nothing yet: controlplane/supervisor/start/

Imported by the composition root too, which forks the others.
"""

import importlib
import sys

from ribcage.controlplane.supervisor.start.waiting import wait
from ribcage.shared.build import build_id


def load() -> None:
    """All that control will ever import, while it may still read where it lies."""
    for name in (
        "asyncio.subprocess",
        "encodings.idna",
        "pyroute2",
        "ribcage.controlplane.kernel.changes.undo",
        "ribcage.controlplane.process.control",
    ):
        importlib.import_module(name)


def run(channel_fd: int, standby: bool) -> None:
    """The whole life of a control process or of a standby."""
    from ribcage.controlplane.process.control import run_control

    run_control(channel_fd, standby)


def begin() -> None:
    """Of a process that nobody forked: its build is that of the files as they are now."""
    build_id()
    load()


if __name__ == "__main__":
    wait(int(sys.argv[1]), begin, lambda fd: run(fd, False))
