"""Notices stopped workers: looks once a second, logs once when it begins and once when it ends.

A stopped (SIGSTOP, debugger) worker is not dead: its process is left alone, the others go on, and
its share of the flows waits in its ring. `ps` shows the same letter from /proc.
"""

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.context import Context
from ribcage.shared.process.log import log

INTERVAL = 1.0  # seconds
STOPPED = "Tt"  # by a signal, by a tracer


class Health:
    """A timer of its own; holds no descriptor."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._stopped: set[int] = set()  # pids
        context.loop.after(INTERVAL, self._look)

    def _look(self) -> None:
        now = set()
        for child in self.context.table.running():
            facts = processes.facts(child.pid)
            if facts is not None and facts.letter in STOPPED:
                now.add(child.pid)
                if child.pid not in self._stopped:
                    log("warning", "child.stalled", child=child.name, child_pid=child.pid,
                        letter=facts.letter)  # fmt: skip
            elif child.pid in self._stopped:
                log("info", "child.well", child=child.name, child_pid=child.pid)
        self._stopped = now
        self.context.loop.after(INTERVAL, self._look)
