"""Signals as events: blocked before the first fork, read from a descriptor in the loop.

No work happens in a handler, so a storm of signals costs loop turns and nothing else, and one
kind of signal is pending at most once. The senders of TERM, INT and HUP are logged.
"""

import os
import signal
from collections.abc import Callable

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.supervisor.loop import Loop
from ribcage.shared.process.log import log
from ribcage.shared.refusals import refused

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


class Signals:
    """`actions[number]()` runs for each signal read. Owns the signalfd."""

    def __init__(self, loop: Loop, actions: dict[signal.Signals, Callable[[], None]]) -> None:
        self._loop = loop
        self._actions = actions
        self._info = ffi.new("struct sys_signal *")
        self.fd: int = lib.sys_signalfd(ffi.new("int32_t[]", HANDLED), len(HANDLED))
        if self.fd < 0:
            raise refused("signalfd", self.fd)
        loop.watch(self.fd, self._read)

    def _read(self) -> None:
        while lib.sys_signal_read(self.fd, self._info) == 1:
            number = signal.Signals(self._info.number)
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                log("info", "signal", name=number.name, by_pid=self._info.pid,
                    by_uid=self._info.uid)  # fmt: skip
            self._actions[number]()

    def close(self) -> None:
        self._loop.unwatch(self.fd)
        os.close(self.fd)
