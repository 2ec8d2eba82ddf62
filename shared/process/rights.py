"""Rights that a process gives up for good: user, groups, capabilities, limits, system calls.

    Rights(uid=61001, gid=61001).take()       # in the child of a fork: become that, and no more
    drop_rights(0)                            # again, for itself: no capability at all
    guard_calls(WORKER_CALLS, "enforce")      # last: which system calls are left

E_RIGHTS when the kernel refuses: the process must not go on. Any process, for itself.
"""

import contextlib
import errno
import os
import resource
from dataclasses import dataclass

from ribcage.shared._core import ffi, lib

from ribcage.shared.refusals import refused

_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = _NAMES.split()
"""linux/capability.h, in the order of their numbers."""
WORKER_CALLS, CONTROL_CALLS = lib.SECCOMP_POLICY_WORKER, lib.SECCOMP_POLICY_CONTROL
MODES = {"log": lib.SECCOMP_LOG, "enforce": lib.SECCOMP_ENFORCE}
TRIALS = {
    "try-open": lib.TRIAL_OPEN,
    "try-exec": lib.TRIAL_EXEC,
    "try-ptrace": lib.TRIAL_PTRACE,
    "try-packet-socket": lib.TRIAL_PACKET_SOCKET,
    "try-bpf": lib.TRIAL_BPF,
    "try-io-uring": lib.TRIAL_IO_URING,
    "try-userfaultfd": lib.TRIAL_USERFAULTFD,
    "try-process-vm": lib.TRIAL_PROCESS_VM,
    "try-kill": lib.TRIAL_KILL,
    "try-fork": lib.TRIAL_FORK,
    "try-exec-memory": lib.TRIAL_EXEC_MEMORY,
    "try-inet-socket": lib.TRIAL_INET_SOCKET,
    "try-unlink": lib.TRIAL_UNLINK,
}
"""Faults that ask for what a worker's list refuses, for tests and lessons."""
FILE_BYTES = 1 << 30
"""The largest file a worker may write to: it has none but the log."""


def mask_of(*names: str) -> int:
    """NET_ADMIN, ... as a bit mask."""
    return sum(1 << CAPABILITIES.index(name) for name in names)


def effective_capabilities() -> int:
    """The mask of this process; 0 when the kernel does not say."""
    effective, permitted = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    error = lib.sys_capabilities(effective, permitted)
    return int(effective[0]) if error == 0 else 0


@dataclass(frozen=True, slots=True)
class Rights:
    """What a process is to be. `uid` None: whoever it is now (one user is all there is).

    capabilities: the mask it keeps; ambient: the part that programs it executes get.
    """

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    capabilities: int = 0
    ambient: int = 0
    core_dumps: bool = False
    worker: bool = False

    def take(self) -> None:
        """For good. After it the process cannot read what only root may, its imports included."""
        self._limit()
        if self.uid is not None:
            gid = self.uid if self.gid is None else self.gid
            lib.sys_keep_capabilities(1)
            os.setgroups(self.groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(self.uid, self.uid, self.uid)
        _refuse(
            "capabilities", lib.sys_confine(self.capabilities, self.ambient, lib.SYS_CONFINE_LOCK)
        )
        # A user of its own has been made undumpable by the kernel. One that shares its user with
        # others is not to be looked into by them either.
        _refuse("dumpable", lib.sys_dumpable(self.core_dumps))
        if self.worker:
            # No child of its own; after the change of user, which counts against the limit.
            _lower(resource.RLIMIT_NPROC, 0)

    def _limit(self) -> None:
        # A core would hold routes and packets; faulthandler has said where it was.
        if not self.core_dumps:
            _lower(resource.RLIMIT_CORE, 0)
        if self.worker:
            _lower(resource.RLIMIT_FSIZE, FILE_BYTES)
            _lower(resource.RLIMIT_MEMLOCK, 0)
            # Not RLIMIT_AS: a FIB may have 256 GiB of address space, rings more.


def _lower(what: int, limit: int) -> None:
    """Soft and hard; never above what it was."""
    hard = resource.getrlimit(what)[1]
    least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (least, least))


def _refuse(what: str, error: int) -> None:
    if error != 0:
        raise refused("drop_rights", error, what=what)


def drop_rights(capabilities: int) -> None:
    """no_new_privs, then every capability but those of the mask."""
    _refuse("no_new_privs", lib.sys_no_new_privileges())
    _refuse("capabilities", lib.sys_drop_capabilities(capabilities))


def try_call(name: str) -> str:
    """Makes the call of a trial; what the kernel said, in its word: EPERM, ENOENT, done. It may
    well not return."""
    error = int(lib.sys_seccomp_try(TRIALS[name]))
    return errno.errorcode.get(-error, str(error)) if error else "done"


def guard_calls(policy: int, mode: str) -> bool:
    """Leaves the system calls of csrc/base/seccomp.c. False when the mode is "off"."""
    if mode not in MODES:
        return False
    _refuse("seccomp", lib.sys_seccomp(policy, MODES[mode]))
    return True
