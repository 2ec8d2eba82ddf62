"""A worker process: forwards what its rings bring and does what its channel says.

It may map the FIB (from a descriptor opened O_RDONLY), write its own stats object, send on the
event queue, and use the sockets it is handed. It opens nothing by name but the channel, takes no
lock, keeps no capability, and its packet path is C (csrc/worker/worker.h); the Python here runs
only when the channel, a signal or a deadline asks for it.

    attach -> map, pin, drop rights -> ready -> run ... stop message, SIGTERM or orphan_timeout
                                                  `-- end of the channel: go on, look for the next

Use: `run_worker(channel_fd)` in a forked child; returns at an orderly stop, the caller ends the
process. Its death is nobody's problem but its successor's: see csrc/port/ring.h and
csrc/report/stats.h.
"""

import select
import signal
import time

from ribcage.shared._core import ffi, lib

from ribcage.dataplane.process import WorkerProcess
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import UNUSABLE
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.log import log
from ribcage.shared.process.message import ChannelClosed, Message
from ribcage.shared.refusals import refused

ATTACH_SECONDS = 10.0  # the supervisor sends `attach` right after the fork


def run_worker(channel_fd: int) -> None:
    """The whole life of a worker. RibcageError before it is ready; nothing afterwards."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to answer
    signals = lib.sys_signalfd(ffi.new("int32_t[]", [signal.SIGTERM]), 1)
    if signals < 0:
        raise refused("signalfd", signals)
    channel = Channel.from_fd(channel_fd)
    message = _await_attach(channel, signals)
    if message is None:
        return
    try:
        worker = WorkerProcess(channel, signals, message)
    except RibcageError as error:
        if error.code != "E_STATS":
            raise
        # It would end likewise each time. The supervisor, who makes these objects, makes another.
        log("error", "stats.unusable", error=str(error))
        raise SystemExit(UNUSABLE) from error
    worker.loop()


def _await_attach(channel: Channel, signals: int) -> Message | None:
    """The first message; None when the supervisor is gone or says stop before it."""
    # poll, not select: the channel has the number it had in the supervisor, where rings of many
    # ports and workers push it beyond the 1,023 that select can hold.
    waiting = select.poll()
    waiting.register(channel.fileno(), select.POLLIN)
    waiting.register(signals, select.POLLIN)
    end = time.monotonic() + ATTACH_SECONDS
    while (left := end - time.monotonic()) > 0:
        readable = [fd for fd, _ in waiting.poll(left * 1000)]
        if signals in readable:
            return None
        try:
            message = channel.recv() if readable else None
        except ChannelClosed:
            return None
        if message is None:
            continue
        if message.type == "attach":
            return message
        message.close()
        if message.type == "stop":
            return None
    raise RibcageError("E_WORKER", f"no attach message within {ATTACH_SECONDS:g} s")
