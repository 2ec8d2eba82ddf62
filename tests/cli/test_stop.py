"""`ribcage stop`: who is asked to end, and what it waits for."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_stop_waits_until_the_supervisor_has_gone(
    router: Any, ribcage: Any, tmp_path: Path
) -> None:
    """The pid comes from a lock that is held; the process behind it is waited for."""
    lock = tmp_path / "r1" / "super" / "supervisor.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import fcntl, os, struct, sys\n"
            f"fd = os.open({str(lock)!r}, os.O_RDWR | os.O_CREAT)\n"
            "lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0)\n"
            "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)\n"
            "os.write(fd, b'%d\\n' % os.getpid())\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdout.readline()
    ran = ribcage("-j", "--timeout", "0.1", "stop")
    assert (ran.status, ran.document["error"]["code"]) == (6, "E_TIMEOUT")
    stdin = holder.stdin

    def stopping(params: Any) -> dict[str, Any]:
        stdin.close()
        return {}

    router.answers["system.stop"] = stopping
    ran = ribcage("-j", "stop")
    holder.wait(10)
    holder.stdout.close()
    assert (ran.status, ran.document["pid"]) == (0, holder.pid)
    assert ran.document["stopped"] is True


def test_stop_asks_the_supervisor_when_control_is_gone(
    ribcage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No management socket: SIGTERM to the holder of the lock, and to nobody else."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path))
    lock = tmp_path / "r1" / "super" / "supervisor.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{os.getpid()}\n")  # a pid, but nobody holds the lock
    assert ribcage("stop").status == 4
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import fcntl, os, signal, struct\n"
            f"fd = os.open({str(lock)!r}, os.O_RDWR)\n"
            "lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0)\n"
            "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)\n"
            "os.ftruncate(fd, 0)\n"
            "os.write(fd, b'%d\\n' % os.getpid())\n"
            "print('held', flush=True)\n"
            "signal.pause()\n",
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    ran = ribcage("stop")
    assert (holder.wait(10), ran.status) == (-signal.SIGTERM, 0)
    holder.stdout.close()
    assert "asking the supervisor" in ran.err
