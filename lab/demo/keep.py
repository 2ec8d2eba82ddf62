"""Keeps the demo's lab up after the demo has ended, and takes it down again.

    release = hold_elsewhere()      # returns in a child; the caller's process waits for it
    ...build the lab, run the steps...
    remember(names, folder)         # what `take_down` needs to find it
    release()                       # the caller's process ends with 0; the lab stays up
    signal.sigwait({SIGTERM})       # until `make demo STOP=1`

The router is a child of the process that holds the lab, so that process must be the one that
stays: it can end the router in order and reap it. What stays behind writes nowhere: a pipe such
as `make demo KEEP=1 | tee` sees its end. `make demo STOP=1` runs `take_down`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ribcage.shared.process.names import Names

PATIENCE = 15.0


def hold_elsewhere() -> Callable[[], None]:
    """Forks. The parent waits and exits as the child says; the child gets `release` and goes on."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child:
        os.close(writer)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the child's, which tidies up
        with os.fdopen(reader, "rb") as pipe:
            released = pipe.read() == b"up"
        os._exit(0 if released else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    os.close(reader)

    def release() -> None:
        os.setsid()
        sys.stdout.flush()
        sys.stderr.flush()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.write(writer, b"up")
        os.close(writer)

    return release


def note(names: Names) -> Path:
    """The file that says who holds the kept lab."""
    return names.run_base / f"{names.instance}-lab.json"


def remember(names: Names, folder: Path) -> None:
    """Called by the holder: its pid and its temporary folder, for `take_down`."""
    note(names).write_text(json.dumps({"pid": os.getpid(), "folder": str(folder)}) + "\n")


def holder(names: Names) -> int | None:
    """A pidfd of the process that holds a kept lab, or None: none is up."""
    try:
        pid = int(json.loads(note(names).read_text())["pid"])
        descriptor = os.pidfd_open(pid)
        if b"ribcage.lab.demo" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return descriptor
        os.close(descriptor)  # somebody else has that pid by now
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def take_down(names: Names) -> int:
    """`make demo STOP=1`: the holder stops the router in order and goes; 1 when there is none."""
    descriptor = holder(names)
    if descriptor is None:
        gone = note(names).exists()
        tidy(names)
        print(
            "the demo's lab had ended already; its files are removed"
            if gone
            else "no lab of `make demo KEEP=1` is up",
            file=sys.stderr,
        )
        return 0 if gone else 1
    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    if not select.select([descriptor], [], [], PATIENCE)[0]:
        print(f"the lab did not end in {PATIENCE:.0f} s; it is killed", file=sys.stderr)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], PATIENCE)
    os.close(descriptor)
    tidy(names)
    print("the demo's lab is down")
    return 0


def tidy(names: Names) -> None:
    """Remove what a holder that was killed could not; only when no holder lives."""
    path = note(names)
    try:
        folder = Path(json.loads(path.read_text())["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        folder = None
    if folder is not None and folder.name.startswith("ribcage-demo-"):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(names.run_dir, ignore_errors=True)
    path.unlink(missing_ok=True)
    remove_if_empty(names.run_base)


def remove_if_empty(folder: Path) -> None:
    """The run base, unless another router lives there or it is not ours to remove."""
    with contextlib.suppress(OSError):
        folder.rmdir()
