"""Counters of a span of time: one sample, a wait, another; Ctrl-C ends the wait, not the command.

sample = over(session, "stats.show", 5.0)
sample.before, sample.after, sample.seconds
sample.end()                      # after the answer: exit 130 or 143 if it was cut short
"""

import time
from dataclasses import dataclass
from typing import Any

import typer

from ribcage.cli.session import Session


@dataclass(frozen=True, slots=True)
class Sample:
    """Two answers of one method, so many seconds apart."""

    before: dict[str, Any]
    after: dict[str, Any]
    seconds: float
    status: int | None  # of the signal that cut it short

    def facts(self) -> dict[str, Any]:
        """What -j adds: the span, and that it is not the one that was asked for."""
        cut = {"interrupted": True} if self.status is not None else {}
        return {"seconds": round(self.seconds, 3), **cut}

    def end(self) -> None:
        """Leaves with the signal's status; the counts so far were told."""
        if self.status is not None:
            raise typer.Exit(self.status)


def over(session: Session, method: str, seconds: float) -> Sample:
    """What `method` answers now and after `seconds`, or as far as a signal lets it come."""
    before, started, status = session.call(method), time.monotonic(), None
    try:
        time.sleep(seconds)  # the user asked for just this
    except KeyboardInterrupt as stopped:
        status = int(getattr(stopped, "status", 130))
    # The rate is of the time that went by, not of the one asked for.
    return Sample(before, session.call(method), time.monotonic() - started, status)
