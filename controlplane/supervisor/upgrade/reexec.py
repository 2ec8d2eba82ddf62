"""The exec itself: which descriptors cross it, and what becomes of them when it does not happen.

    exec_image(argv, image)      # does not return; OSError: nothing has changed

Every descriptor of ours is close-on-exec, always: for this one call those of the image are not,
and the new image makes them so again before it does anything else. A SIGKILL in between is the
death of a supervisor like any other: there is no process that could inherit them by mistake,
because this one has a single thread and forks nothing here.

Signals stay blocked across the exec and pending ones stay pending; the children of the process
stay its children, those that end meanwhile are zombies until the new image reaps.
"""

import os
from collections.abc import Callable

from ribcage.controlplane.supervisor.rights import confine_capabilities, rights_outlive_exec
from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.shared.process.python import ISOLATED

COMMAND = (*ISOLATED, "-m", "ribcage.roles", "supervisor")


def resuming(python: str, fd: int) -> list[str]:
    """The argument vector of the image that goes on."""
    return [python, *COMMAND, "--resume-fd", str(fd)]


def checking(python: str) -> list[str]:
    """And of the child that tries it before, with the state on its standard input."""
    return [python, *COMMAND, "--check-resume"]


def execute(path: str, argv: list[str]) -> None:
    """As os.execv, with the same capabilities after it: the new image confines itself again."""
    rights_outlive_exec()
    try:
        os.execv(path, argv)
    finally:
        confine_capabilities()


def exec_image(
    python: str, image: Image, execv: Callable[[str, list[str]], object] = execute
) -> None:
    """This process goes on as another program. OSError when it cannot: all is as before."""
    fd = image.seal()
    crossing = [fd, *image.descriptors()]
    try:
        for one in crossing:
            os.set_inheritable(one, True)
        execv(python, resuming(python, fd))
    finally:
        keep_from_children(crossing)
        os.close(fd)


def keep_from_children(fds: list[int]) -> None:
    """Close-on-exec, as everything of ours."""
    for fd in fds:
        os.set_inheritable(fd, False)
