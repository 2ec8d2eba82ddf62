"""What a child may send: how large, how often, and how many lines of log it may cause.

    bound(child)                     # when its channel begins, or its role changes
    floods.admit(child)              # one more message; False: its channel rests for a while
    floods.line(child)               # whether a line about it may be written

Control asks for what clients ask for, and may send a whole plan. A worker reports: a few hundred
bytes, a few times in its life. One that sends without pause is not read for REST seconds; what it
sends meanwhile fills its own socket. Nobody else waits, and it is not killed for talking.
"""

from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.loop import READ
from ribcage.shared.process.budget import Budget
from ribcage.shared.process.log import log
from ribcage.shared.process.message import MESSAGE_BYTES

REPORT_BYTES = 4096
PER_SECOND, AT_ONCE = 100.0, 200.0  # messages of a worker
REST = 0.25
LINES, LINES_AT_ONCE = 0.5, 10.0  # refusals told of one child, a second and at once


def bound(child: Child) -> None:
    """Only a hello to a successor brings descriptors, and that was read before."""
    if child.channel is not None:
        control = child.role == "control"
        most = MESSAGE_BYTES if control else REPORT_BYTES
        child.channel.limit(most, fds=False, long=control)


class Floods:
    """Budgets by slot: a successor has its predecessor's."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._messages: dict[str, Budget] = {}
        self._lines: dict[str, Budget] = {}

    def admit(self, child: Child, now: float) -> bool:
        if child.role == "control":
            return True
        budget = self._messages.setdefault(child.name, Budget(PER_SECOND, AT_ONCE))
        if budget.take(now):
            return True
        self._rest(child)
        return False

    def line(self, child: Child, now: float) -> bool:
        return self._lines.setdefault(child.name, Budget(LINES, LINES_AT_ONCE)).take(now)

    def _rest(self, child: Child) -> None:
        """Not watched at all: an end of the channel would wake the loop again and again."""
        loop, channel = self.context.loop, child.channel
        if channel is None or not loop.watches(channel.fileno()):
            return
        callback = loop.unwatch(channel.fileno())
        log("warning", "child.floods", child=child.name, child_pid=child.pid, rest_s=REST)

        def again() -> None:
            if child.channel is channel and callback is not None:
                loop.watch(channel.fileno(), callback, READ)
                callback()  # which also sends what waits

        loop.after(REST, again)
