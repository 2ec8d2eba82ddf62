"""Asks control and the standby whether their loop still turns, and ends the one that is silent.

    watchdog = Watchdog(context, handover)
    watchdog.answered(child, body)         # its `pong` came

A process that hangs or is stopped (SIGSTOP, a debugger) is treated as a dead one: killed after
`control.hang_timeout` without an answer; its death then promotes the standby, or makes another.
One that is starting has the start limit, since a takeover of a large table is one long step; it
may be stopped for no longer than the timeout all the same.

One question is open at a time, so nothing piles up in the channel of a process that does not read.
Silence is counted look by look, and a look counts for twice the period at most: when it was the
supervisor or the whole machine that stood still, the answers are read before anybody is judged.
A timer of its own; holds no descriptor, never blocks.
"""

from dataclasses import dataclass

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.shared.process.log import log
from ribcage.shared.process.message import Message

LOOKS = 6  # within one timeout
SHORTEST, LONGEST = 0.05, 1.0  # seconds between two looks


@dataclass(slots=True)
class _Watched:
    """What is known of the process in one slot."""

    pid: int = 0
    silence: float = 0.0  # seconds since its last answer, as looks count them
    stopped: float = 0.0  # of these, in a row, stopped
    asked: int = 0  # the question that is open; 0: none


class Watchdog:
    """See the module's text."""

    def __init__(self, context: Context, handover: Handover) -> None:
        self.context = context
        self.handover = handover
        self.asked = 0
        self.killed = 0
        self._watched: dict[str, _Watched] = {}
        self._last = context.loop.now()
        context.loop.after(self._period(), self._look)

    def answered(self, child: Child, message: Message) -> None:
        """`pong`: only the answer to the open question counts."""
        known = self._watched.get(child.role)
        if known is None or known.pid != child.pid or message.body.get("id") != known.asked:
            return
        known.silence = known.stopped = 0.0
        known.asked = 0
        if child.state in ("hung", "stopped"):
            self._well(child)

    def _timeout(self) -> float:
        return self.context.plan.control.hang_timeout

    def _period(self) -> float:
        return min(LONGEST, max(SHORTEST, self._timeout() / LOOKS)) if self._timeout() else LONGEST

    def _look(self) -> None:
        context, period = self.context, self._period()
        now = context.loop.now()
        elapsed, self._last = min(now - self._last, 2 * period), now
        if context.phase == "stopping":  # which has deadlines of its own
            return
        context.loop.after(period, self._look)
        for child in (context.table.control, context.table.standby):
            if self._timeout() and child.running and child.channel is not None:
                self._weigh(child, elapsed)
            else:
                self._watched.pop(child.role, None)
                self._tell(child)

    def _tell(self, child: Child) -> None:
        """Nobody is asked: what /proc says of it is told all the same."""
        facts = processes.facts(child.pid) if child.running else None
        stopped = facts is not None and facts.stopped
        if stopped and child.state == "ready":
            child.state = "stopped"
            log("warning", "child.stopped", child=child.name, child_pid=child.pid)
        elif not stopped and child.state == "stopped":
            self._well(child)

    def _well(self, child: Child) -> None:
        log("info", "child.well", child=child.name, child_pid=child.pid)
        child.state = "ready"

    def _weigh(self, child: Child, elapsed: float) -> None:
        known = self._watched.get(child.role)
        if known is None or known.pid != child.pid:
            known = self._watched[child.role] = _Watched(child.pid)
            elapsed = 0.0
        facts = processes.facts(child.pid)
        stopped = facts is not None and facts.stopped
        known.silence += elapsed
        known.stopped = known.stopped + elapsed if stopped else 0.0
        limit = self._timeout()
        patience = self.context.limits.start if child.state == "starting" else limit
        if known.silence >= patience or known.stopped >= limit:
            self._end(child, known)
            return
        if child.state in ("ready", "hung") and known.silence >= limit / 2:
            self._doubt(child, "stopped" if stopped else "hung", known)
        if known.asked == 0:
            self.asked += 1
            known.asked = self.asked
            self.handover.post(child, {"type": "ping", "id": known.asked})

    def _doubt(self, child: Child, state: str, known: _Watched) -> None:
        if child.state != state:
            child.state = state
            log("warning", f"child.{state}", child=child.name, child_pid=child.pid,
                silent_s=round(known.silence, 2))  # fmt: skip

    def _end(self, child: Child, known: _Watched) -> None:
        """SIGKILL works on a stopped process too; what follows is what follows any death."""
        what = "stopped" if known.stopped else "hung"
        child.verdict = f"{what}: no answer for {known.silence:.1f} s"
        child.hangs += 1
        self.killed += 1
        log("error", f"child.{what}", child=child.name, child_pid=child.pid,
            silent_s=round(known.silence, 2), killed=True)  # fmt: skip
        child.kill()
        self._watched.pop(child.role)
