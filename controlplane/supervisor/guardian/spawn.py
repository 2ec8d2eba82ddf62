"""Starts a guardian: its socket is bound here, so that it can be spoken to before it listens.

    path, sock = bind(names)                             # its name carries our pid: never another's
    argv = command(sock.fileno(), path, {"plan": fd}, successor)
    os.execv(argv[0], argv)                              # --daemon; or ward.py: posix_spawn

`successor` is the argument vector of the next supervisor. Descriptors named here must be
inheritable by the time of the exec. Supervisor only.
"""

import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ribcage.shared.process.names import Names

PROGRAM = Path(__file__).with_name("main.py")


def bind(names: Names, tag: str) -> tuple[Path, socket.socket]:
    """A socket of its own, close-on-exec; OSError. Whoever sends to it is told by the kernel."""
    path = names.guardian_socket(tag)
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.bind(str(path))  # the supervisor's umask: ours alone
    except BaseException:
        sock.close()
        raise
    return path, sock


def command(
    sock: int,
    path: Path,
    stored: Mapping[str, int],
    successor: Sequence[str],
    *flags: str,
) -> list[str]:
    """Python without site and environment: only what is built in is loaded."""
    words = [sys.executable, "-I", "-S", str(PROGRAM), "--socket", str(sock), "--path", str(path)]
    for name, fd in stored.items():
        words += ["--store", f"{name}={fd}"]
    return [*words, *flags, "--", *successor]
