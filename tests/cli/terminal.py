"""A terminal of a given width, with `ribcage` in it."""

import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import Sequence


def on_a_terminal(words: Sequence[str], columns: int = 80) -> tuple[int, list[str]]:
    """(exit status, lines as they stand there: stdout and stderr together)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.pop("COLUMNS", None)
        os.unsetenv("COLUMNS")  # readline, which pytest imports, sets it past os.environ
        os.environ["NO_COLOR"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "ribcage", *words])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    data = b""
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        data += part
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    lines = data.decode().replace("\r\n", "\n").splitlines()
    return os.waitstatus_to_exitcode(status), lines
