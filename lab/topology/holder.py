"""Keeps a lab's namespaces and ends whatever still runs in them. A script, not a module.

Started by namespaces.py beside it inside the lab's own user, mount and IPC namespace, with the
creator's pipe as standard input. Each line `net PID INODE` names a network namespace of the lab
and the process that holds it; `held` is the answer once a descriptor of ours keeps it too. Members
are known by the inode number, which thus cannot become another lab's while this script runs (the
kernel gives the lowest free number, and the other holders go at the same end of file).
End of file means that the creator closed the lab or was killed: every process found in one of
those namespaces gets SIGKILL, until none is left, and then the holder goes too. It touches no
other process.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time


def hold(pid: int, inode: int) -> bool:
    """Keeps the network namespace of `pid` open as long as this process lives.

    Not if the process is gone with its killed creator, which then ran nothing in that node, as it
    waits for our answer first; nor if its pid is somebody else's by now.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    if os.fstat(descriptor).st_ino == inode:
        return True
    os.close(descriptor)
    return False


def members(inodes: set[int]) -> list[int]:
    """Process ids whose network namespace is one of `inodes`, but for this process."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 -- pathlib costs 10 ms of start-up here
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            link = os.readlink(f"/proc/{entry}/ns/net")  # noqa: PTH115
        except OSError:  # gone meanwhile, a kernel thread, or somebody else's
            continue
        match = re.fullmatch(r"net:\[(\d+)\]", link)
        if match and int(match[1]) in inodes:
            found.append(int(entry))
    return found


def end(inodes: set[int]) -> None:
    """Kill the members; again for those forked meanwhile, for two seconds at most."""
    deadline = time.monotonic() + 2
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        left = members(inodes)
        # Twice empty: an nsenter on its way in is not yet a member when first looked at.
        quiet = 0 if left else quiet + 1
        for pid in left:
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                continue
            # Looked at again with the pidfd in hand: a pid may have been reused since.
            if pid in members(inodes):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
        time.sleep(0.002)  # zombies leave /proc/PID/ns at once; only exit itself takes a moment


def main() -> None:
    """Mount, say ready, collect namespaces until the end of input, clean up."""
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C is the creator's to handle
        signal.signal(number, signal.SIG_IGN)
    mount = ["mount", "-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", "/dev/shm"]
    subprocess.run(mount, check=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    inodes: set[int] = set()
    for line in sys.stdin:
        word, _, value = line.partition(" ")
        if word == "net":
            pid, inode = (int(number) for number in value.split())
            if hold(pid, inode):
                inodes.add(inode)
            with contextlib.suppress(BrokenPipeError):  # killed meanwhile: the input ends too
                os.write(1, b"held\n")
    end(inodes)


main()
