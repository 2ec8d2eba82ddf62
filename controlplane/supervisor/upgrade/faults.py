"""Points at which a test has the supervisor killed: an upgrade must heal from each of them.

fault_point("exec", teach)      # SIGKILL to ourselves if $RIBCAGE_UPGRADE_FAULT is "exec"

Only of a router that was started with --teach; else nothing is looked at.
"""

import os
import signal

VARIABLE = "RIBCAGE_UPGRADE_FAULT"
POINTS = (
    "checked", "exec", "resumed",
    "worker-successor", "worker-stopped", "worker-inherited", "worker-ready",
    "control-successor", "control-stopped", "control-inherited", "control-ready",
    "standby-stopped", "done",
)  # fmt: skip


def fault_point(name: str, teach: bool) -> None:
    """See the module's text."""
    if teach and os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
