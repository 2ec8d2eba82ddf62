"""Makes a process of early.py control, by the one message that says what it is (waiting.py).

    if not took_early(context, child, spec):       # False: fork one

Supervisor only.
"""

import os
import resource
from dataclasses import asdict
from pathlib import Path

from ribcage.controlplane.supervisor.children.fork import ForkSpec
from ribcage.controlplane.supervisor.children.processes import facts
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.start.early import Early
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.log import log
from ribcage.shared.process.message import ChannelError

NAMES = ("RIBCAGE_INSTANCE", "RIBCAGE_RUN_DIR")


def took_early(context: Context, child: Child, spec: ForkSpec) -> bool:
    """Whether the slot is filled. Without one, or with one of no use, a process is forked."""
    early = context.early
    if not early.pid:
        return False
    uid = os.geteuid() if spec.rights.uid is None else spec.rights.uid
    try:
        channel = _tell(early, spec, context.plan.process.seccomp)
        try:
            child.attach(early.pid, channel, uid)
        except OSError:
            channel.close()
            raise
        early.take()
    except (OSError, ChannelError) as error:
        log("warning", "control.not-early", error=str(error))
        early.end()
        return False
    return True


def _tell(early: Early, spec: ForkSpec, seccomp: str) -> Channel:
    """Its channel. OSError when it is no child of ours that lives."""
    found = facts(early.pid)
    if found is None or found.letter == "Z" or _parent(early.pid) != os.getpid():
        raise ProcessLookupError(f"process {early.pid} is gone")
    body = {
        "type": "become",
        "role": spec.role,
        "instance": spec.instance,
        "rights": asdict(spec.rights),
        "level": spec.level,
        "form": spec.form,
        "seccomp": seccomp,
        "folder": str(Path.cwd()),
        "environment": {name: os.environ[name] for name in NAMES},
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    }
    channel = Channel.from_fd(os.dup(early.fd))
    try:
        channel.send(body, {"stdout": 1, "stderr": 2})
    except BaseException:
        channel.close()
        raise
    return channel


def _parent(pid: int) -> int:
    raw = Path(f"/proc/{pid}/stat").read_bytes()
    return int(raw[raw.rfind(b")") + 2 :].split()[1])
