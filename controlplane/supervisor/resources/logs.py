"""The daemon's log file for all processes: opened anew on SIGHUP, and before it grows too large.

    logs = Logs(context, handover, log_file)     # None: standard error is somebody else's
    logs.reopen()                                # SIGHUP
    logs.share()                                 # after an adoption: the living write there too

A file that cannot be opened anew is a line in the old one, and lines go on there.
"""

import contextlib
import os

from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.resources.logfile import LogFile
from ribcage.shared.errors import RibcageError
from ribcage.shared.process import log as lines
from ribcage.shared.process.log import description_of, log

LEVELS = ("info", "debug", "warning")  # SIGUSR2 cycles through them
INTERVAL = 10.0  # seconds between two looks at the size


class Logs:
    """A timer of its own, for a file of our own."""

    def __init__(self, context: Context, handover: Handover, file: LogFile | None) -> None:
        self.context = context
        self.handover = handover
        self.file = file
        if file is not None and file.own:
            context.loop.after(INTERVAL, self._look)

    def reopen(self) -> None:
        """For logrotate, which has moved the file away: lines go to one of the old name."""
        if self.file is None:
            return
        try:
            self.file.reopen()
        except (OSError, RibcageError) as error:
            log("error", "log.reopen", file=str(self.file.path), error=str(error))
            return
        self.share()
        log("info", "log.reopened", file=str(self.file.path))

    def share(self) -> None:
        """Hands the file to every child, opened for each: of one that all share, any of them could
        change the flags and the place."""
        if self.file is None:
            return
        self.context.store.keep("log", 2)  # the guardian writes there, and the next of us
        for child in self.context.table.running():
            try:
                fd = description_of(2)
            except OSError as error:
                log("error", "log.share", child=child.name, error=error.strerror)
                continue
            self.handover.post(child, {"type": "log-file"}, {"log": fd})
            os.close(fd)

    def cycle_level(self) -> None:
        """SIGUSR2: the next one, for all processes."""
        level = lines.current().level
        following = LEVELS[(LEVELS.index(level) + 1) % len(LEVELS)] if level in LEVELS else "info"
        lines.set_level(following)
        for child in self.context.table.running():
            self.handover.post(child, {"type": "log-level", "level": following})

    def remove(self) -> None:
        """At the end of an orderly stop: ours, and the one of a daemon before that was given no
        place for its log. A file that the user named stays, wherever it is."""
        names = self.context.names
        default = LogFile(names.log_file, own=True)
        if self.file is not None and self.file.own:
            default = self.file
        elif self.file is not None and self.file.path == names.log_file:
            return
        with contextlib.suppress(OSError):
            default.remove()

    def _look(self) -> None:
        self.context.loop.after(INTERVAL, self._look)
        try:
            if self.file is not None and self.file.rotate_if_large():
                self.share()
                log("info", "log.rotated", before=str(self.file.before))
        except (OSError, RibcageError) as error:
            log("error", "log.rotate", error=str(error))
