"""The log file of a daemon: where it lies, opened anew on SIGHUP, bounded where it is our own.

    log_file = LogFile(names.log_file, own=True)
    log_file.open(); log_file.take_over()        # before the daemon detaches; once it has
    log_file.reopen(); log_file.rotate_if_large()

Every process writes to descriptor 2, which all inherit from the supervisor. After reopen() the
supervisor's is the new file; the children are handed it over their channels (handover.py). `own`:
the file in the run directory, which nobody else rotates: it lies in memory on most machines, so at
LARGEST bytes it becomes `.1`, and an orderly stop removes both. A file that the user named is left
to logrotate.
"""

import contextlib
import os
from pathlib import Path

from ribcage.shared.refusals import refused

LARGEST = 4 << 20
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class LogFile:
    """See the module's text. Owns nothing but descriptor 2."""

    def __init__(self, path: Path, own: bool) -> None:
        self.path = path
        self.own = own

    @property
    def before(self) -> Path:
        """Where the lines before the last rotation are."""
        return self.path.with_name(self.path.name + ".1")

    def open(self) -> int:
        """A descriptor of the file, made 0600 if need be; E_LOG_FILE (exit 2), of our own E_RUN_DIR
        (exit 5)."""
        flags = FLAGS if self.own else FLAGS & ~os.O_NOFOLLOW
        try:
            return os.open(self.path, flags, 0o600)
        except OSError as error:
            if self.own:
                raise refused("run_dir", error.errno, path=self.path) from error
            raise refused("log_file", error.errno, path=self.path) from error

    def reopen(self) -> None:
        """Descriptor 2 is the file of that name again. E_LOG_FILE: it is what it was."""
        fd = self.open()
        os.dup2(fd, 2, inheritable=True)
        os.close(fd)

    def rotate_if_large(self) -> bool:
        """True when the lines go to a new file now. OSError, or E_LOG_FILE: nothing changed."""
        if not self.own or os.fstat(2).st_size < LARGEST:
            return False
        with contextlib.suppress(FileNotFoundError):  # somebody removed it
            self.path.replace(self.before)
        self.reopen()
        return True

    def remove(self) -> None:
        """At an orderly stop: what was ours goes."""
        if self.own:
            self.path.unlink(missing_ok=True)
            self.before.unlink(missing_ok=True)
