"""The new image's first steps: everything back from the image, or back to the build before.

    status = resume(fd, supervise)       # roles.py, for `supervisor --resume-fd N`

What the check could not find may still go wrong here, before anything was done with the state:
then the build before is executed again, if it is another program, and tells why the upgrade
failed. If that cannot be either, this is the death of a supervisor: whatever restarts it starts the
new build, and the children, who went on all the time, are adopted.
"""

import contextlib
import os
import sys
from collections.abc import Callable

from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.controlplane.supervisor.upgrade.reexec import exec_image, keep_from_children
from ribcage.shared.errors import RibcageError
from ribcage.shared.process import log as lines
from ribcage.shared.process.log import log

Prepared = Callable[[], int]  # runs until the end; the exit status


def resume(fd: int, prepare: Callable[[Image], Prepared]) -> int:
    """`prepare(image)` puts the state into place and begins nothing; what it returns is the rest
    of this supervisor's life. E_IMAGE when there is no image in `fd`."""
    lines.setup("supervisor")
    image = Image.load(fd)
    os.close(fd)
    keep_from_children(list(image.descriptors()))
    try:
        run = prepare(image)
    except Exception as error:
        _go_back(image, error)
        raise
    return run()


def _go_back(image: Image, error: Exception) -> None:
    """Returns only when there is nowhere to go back to."""
    why = error.message if isinstance(error, RibcageError) else f"{type(error).__name__}: {error}"
    log("error", "upgrade.resume", why=why[:300], back_to=image.python)
    if image.python == sys.executable or image.story.get("back"):
        return
    image.story |= {"back": f"the new build could not take over: {why[:300]}"}
    with contextlib.suppress(OSError, RibcageError):
        exec_image(image.python, image)
