"""A process of early.py, from its first import to its end: it waits to be told what it is.

    wait(channel_fd, load, entry)          # never returns

A fork inherits all that the supervisor has set for itself (limits, umask, environment, a bounding
set); this process was there before, and sets the same for itself before it takes its rights.
"""

import os
import resource
import select
from collections.abc import Callable
from typing import Any, NoReturn

from ribcage.controlplane.supervisor.children.fork import ForkSpec, live
from ribcage.controlplane.supervisor.rights import confine
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelError
from ribcage.shared.process.rights import Rights


def wait(channel_fd: int, load: Callable[[], None], entry: Callable[[int], None]) -> NoReturn:
    """Loads, then does as it is told; ends in silence when nobody tells it anything."""
    load()
    channel = Channel.from_fd(os.dup(channel_fd))
    select.select([channel], [], [])
    try:
        message = channel.recv()
    except ChannelError:
        os._exit(0)
    channel.close()
    if message is None or message.type != "become":
        os._exit(0)
    for name, number in (("stdout", 1), ("stderr", 2)):
        fd = message.take(name)
        if fd is not None:
            os.dup2(fd, number, inheritable=True)
            os.close(fd)
    live(_told(message.body), channel_fd, entry)


def _told(body: dict[str, Any]) -> ForkSpec:
    os.umask(0o077)
    os.chdir(body["folder"])
    os.environ.update(body["environment"])
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(body["files"]))
    confine(body["seccomp"])
    rights = Rights(**{**body["rights"], "groups": tuple(body["rights"]["groups"])})
    return ForkSpec(body["role"], body["instance"], rights, level=body["level"], form=body["form"])
