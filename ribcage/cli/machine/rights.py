"""The checks of `ribcage doctor` about rights: users for the processes, system calls, dumps.

As checks.py: functions () -> Finding, which try the thing itself.
"""

import os
from collections.abc import Callable
from pathlib import Path

from ribcage.cli.machine.checks import Finding
from ribcage.shared.plan import ProcessPlan

ALONE = "all processes keep one user: workers have no capability, and seccomp alone guards files"


def own_users(plan: ProcessPlan) -> Callable[[], Finding]:
    """A uid a process, out of process.users: mapped here, nobody's account, nobody's process."""

    def check() -> Finding:
        from ribcage.controlplane.supervisor.resources.users import (
            accounts_in,
            uids_in_use,
            why_one_user,
        )

        name = "users of processes"
        why = why_one_user(plan.users)
        if why is not None or plan.users is None:
            advice = "for a user a process: run as root, with these capabilities"
            if why is not None and "namespace" in why:
                advice = "for a user a process: run as root, outside of a user namespace"
            if plan.users is None:
                advice = 'users = "61000-61063" under [process]'
            return Finding(name, "warn", f"{why}: {ALONE}", advice)
        first, last = plan.users
        wanted = range(first, last + 1)
        accounts = accounts_in(wanted)
        if accounts:
            text = ", ".join(f"{uid} is {who}" for uid, who in list(accounts.items())[:3])
            return Finding(name, "warn", f"accounts in {first}-{last}: {text}",
                           "another range for users under [process]")  # fmt: skip
        free = len(set(wanted) - uids_in_use())
        text = f"{first}-{last}: {free} of {len(wanted)} free; control takes one, each worker one"
        if free < 2:
            return Finding(name, "FAIL", text, "a wider range for users under [process]")
        return Finding(name, "ok", text)

    return check


def system_calls(plan: ProcessPlan) -> Callable[[], Finding]:
    """Seccomp filters with the actions that process.seccomp needs."""

    def check() -> Finding:
        from ribcage.shared._core import lib
        from ribcage.shared.process.rights import MODES

        name = "seccomp"
        if plan.seccomp not in MODES:
            return Finding(name, "warn", "off: a worker may make any system call",
                           'seccomp = "enforce" under [process]')  # fmt: skip
        if lib.sys_seccomp_available(MODES[plan.seccomp]):
            return Finding(name, "ok", f"{plan.seccomp}: workers keep a list of system calls")
        return Finding(name, "FAIL", f"no filters here for {plan.seccomp}",
                       'CONFIG_SECCOMP_FILTER=y, or seccomp = "off" under [process]')  # fmt: skip

    return check


def run_directory(plan: ProcessPlan) -> Callable[[], Finding]:
    """Users of ours have to pass through to the channel and the sockets."""

    def check() -> Finding:
        from ribcage.controlplane.supervisor.resources.folders import closed_to
        from ribcage.controlplane.supervisor.resources.users import why_one_user
        from ribcage.controlplane.supervisor.start.beginning import check_paths
        from ribcage.shared.errors import RibcageError
        from ribcage.shared.process.names import Names

        name = "run directory"
        names = Names.resolve()
        base = names.run_base
        try:
            check_paths(names.sockets)
        except RibcageError as error:
            return Finding(name, "FAIL", error.message, error.hint or "")
        there = next((path for path in (base, *base.parents) if path.exists()), Path("/"))
        if not os.access(there, os.W_OK):
            return Finding(name, "warn", f"{there} may not be written to",
                           "RIBCAGE_RUN_DIR = a directory of yours")  # fmt: skip
        if plan.users is None or why_one_user(plan.users) is not None:
            return Finding(name, "ok", str(base))
        closed = closed_to(there, plan.users[0])
        if closed is None:
            return Finding(name, "ok", str(base))
        return Finding(name, "FAIL", f"{closed} is closed to the processes' users",
                       f"chmod o+x {closed}, or another RIBCAGE_RUN_DIR")  # fmt: skip

    return check
