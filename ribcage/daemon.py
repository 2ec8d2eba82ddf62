"""The first moments of `ribcage run --daemon`: detached, and with control's process begun.

    python -m ribcage.daemon CHANNEL

Started by the command before it reads its file (start/early.py). Only then is the composition root
imported: what control has to load takes longer, and goes on beside it.
"""

import os
import sys

from ribcage.controlplane.supervisor.start.early import Early


def main() -> int:
    """The supervisor's exit status."""
    os.setsid()
    if os.fork() != 0:
        os._exit(0)  # the child leads no session, so it can never get a terminal
    early = Early.spawn()

    from ribcage.roles import begin_daemon

    return begin_daemon(int(sys.argv[1]), early)


if __name__ == "__main__":
    sys.exit(main())
