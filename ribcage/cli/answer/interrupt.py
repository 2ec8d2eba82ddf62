"""Ctrl-C and SIGTERM as exceptions that never tear a document apart.

    with interrupt.listening():
        with interrupt.held_back():      # while a piece of the answer is written
            out.write(text)

Either signal raises CommandInterrupted where the command is, so that it can say how far it came
and undo what it began. While the answer is written the signal waits for the end of that piece,
PATIENCE seconds at most: a reader that has stopped reading must not keep us for ever. Main thread
only; elsewhere signals are left alone.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

PATIENCE = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CommandInterrupted(KeyboardInterrupt):
    """`status` is what the shell knows such an end by: 130 or 143."""

    def __init__(self, number: int, torn: bool = False) -> None:
        super().__init__()
        self.status = 128 + number
        self.torn = torn  # in the middle of a piece of output: nothing more can be said there


_holds = 0
_pending: int | None = None


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Both signals, and the alarm that ends a hold, are ours inside the block. One that we were
    started to ignore (nohup, a job in the background of a script) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _holds, _pending
    _holds, _pending = 0, None
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _caught) for number in heard}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _overdue)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Signals wait until the block has ended."""
    global _holds, _pending
    _holds += 1
    try:
        yield
    except BaseException:
        _pending = None  # the command ends as it is
        raise
    finally:
        _holds -= 1
    if not _holds and _pending is not None:
        number, _pending = _pending, None
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise CommandInterrupted(number)


def _caught(number: int, frame: FrameType | None) -> None:
    global _pending
    if _holds and _pending is None:
        _pending = number
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        return
    torn = bool(_holds)
    _pending = None
    raise CommandInterrupted(number, torn)


def _overdue(number: int, frame: FrameType | None) -> None:
    global _pending
    if _pending is not None:
        waiting, _pending = _pending, None
        raise CommandInterrupted(waiting, torn=True)
