"""Moves the children to this build, one after another, without a packet or a route lost.

    worker    its successor is forked first and waits for its attach message; the old one commits
              what it took and ends at a moment when it holds nothing; the successor maps the same
              rings and stats object and goes on at the committed slot. Meanwhile the kernel fills
              the rings: nothing is lost while they have room, with one worker or with many.
    control   a standby of this build is made first; the old one ends in order (clients closed,
              everything published, the lock let go, nothing undone in the kernel), the new one is
              promoted as after a death.
    standby   last, likewise: until then the old one is there in case the new control dies.

`step()` looks at how things stand and does what comes next: it is called after every birth and
death, so it makes no difference who was quick. A child of the new build that ends before it is
ready stops the move: those that are not moved yet go on with what works.
"""

import signal
from collections.abc import Callable

from ribcage.controlplane.supervisor.children.lifecycle import Lifecycle
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.loop import Timer
from ribcage.controlplane.supervisor.messages import Messages
from ribcage.controlplane.supervisor.upgrade.faults import fault_point
from ribcage.controlplane.supervisor.upgrade.story import UpgradeStory
from ribcage.shared.process.log import log
from ribcage.shared.protocol import ours

CHILD_LIMIT = 40.0  # seconds for one child, from its successor's birth to ready
SLOW = 2.0  # seconds after that: it is ended
MARGIN = 0.1  # seconds after hold.timeout: what a worker holds then came late, and is counted


class Moving:
    """See the module's text. `on_end(error or None)` is called once."""

    def __init__(
        self,
        context: Context,
        lifecycle: Lifecycle,
        fork_successor: Callable[[Child], bool],
        handover: Handover,
        messages: Messages,
        on_end: Callable[[str | None], None],
    ) -> None:
        self.context = context
        self.lifecycle = lifecycle
        self.fork_successor = fork_successor
        self.handover = handover
        self.messages = messages
        self.on_end = on_end
        self._story: UpgradeStory | None = None
        self._begun = False  # the first of `todo` has its step
        self._told = False  # and was asked to leave
        self._moved = False  # its successor has the place
        self._old = 0  # its pid before
        self._asked = 0  # id of its last request
        self._timer: Timer | None = None

    def begin(self, story: UpgradeStory) -> None:
        """`story.todo`: names of children."""
        self._story = story
        self.step()

    def step(self) -> None:
        """Does what can be done now."""
        while self._story is not None and not self._step(self._story):
            pass

    def _step(self, story: UpgradeStory) -> bool:
        """True when there is something to wait for."""
        if self.context.phase != "running":
            self._end("the router is being stopped")
            return True
        if not story.todo:
            self._end(None)
            return True
        child = self._slot(story.todo[0])
        if child is None:
            self._next(story)
            return False
        if not self._begun:
            return self._begin(story, child)
        if not self._told:
            return self._tell(child)
        if child.pid == self._old or child.state in ("stopping", "starting"):
            return True
        if child.state != "ready" or child.speaks.build != ours().build or not self._moved:
            what = f"is {child.state}" if child.running else f"ended: {child.last_exit}"
            self._end(f"{child.name} of the new build {what}")
            return True
        self._fault(child, "ready")
        story.ended(f"pid {self._old} -> {child.pid}")
        self._next(story)
        return False

    def _slot(self, name: str) -> Child | None:
        table = self.context.table
        return next((one for one in (table.control, table.standby, *table.workers)
                     if one.name == name), None)  # fmt: skip

    def _begin(self, story: UpgradeStory, child: Child) -> bool:
        """Forks the successor; a slot that is empty just now is filled at once."""
        current = child.speaks.build == ours().build
        if child.running and child.state == "ready" and current and not story.force:
            self._next(story)
            return False
        if self._timer is None:
            self._timer = self.context.loop.after(CHILD_LIMIT, self._late)
        if child.running and child.state != "ready":
            return True  # it was just born: as soon as it is, or its deadline ends it
        story.step(child.name)
        self._begun, self._old = True, child.pid
        self._told = self._moved = not child.running
        if not child.running:
            self.lifecycle.start(child)
            return True
        if not self.fork_successor(child):
            self._end(f"no successor of {child.name} could be made: the log has the reason")
            return True
        self._fault(child, "successor")
        return False

    def _tell(self, child: Child) -> bool:
        """Asks the old one to leave, once its successor only waits for its place."""
        successor = child.successor
        if successor is None or not child.running:
            if child.running:
                self._end(f"the successor of {child.name} ended before it had its place")
            else:
                self._told = True  # it died by itself: its successor has the place already
            return child.running
        if child.role != "worker" and successor.state != "ready":
            return True  # its imports take a second, while the old one works
        self._told = True
        child.state = "stopping"
        if child.role == "worker":
            self.lifecycle.share_frames()  # new ones go to the others, where that can be
            # It forwards meanwhile. A neighbour that is there answers the kernel's next question,
            # which comes a second after the last one.
            limit = self.context.plan.hold.timeout + MARGIN
            body = {"type": "drain", "quiet": 0, "limit": limit, "stop": True}
            self._asked = self.messages.expect(child, lambda error: self._dismiss(child))
            self.handover.post(child, {**body, "id": self._asked})
            self.context.loop.after(limit + SLOW, self._killer(child))
        elif child.role == "control":
            child.kill(signal.SIGTERM)  # in order, and nothing undone: its successor needs it
            self.context.loop.after(self.context.limits.stop_control, self._killer(child))
        else:
            self.handover.post(child, {"type": "stop"})
            self.context.loop.after(self.context.limits.stop_workers, self._killer(child))
        self.handover.tell_workers()
        return True

    def _dismiss(self, child: Child) -> None:
        """One of an older build only said that it is empty."""
        if child.pid == self._old:
            self.handover.post(child, {"type": "stop"})

    def _killer(self, child: Child) -> Callable[[], None]:
        """Ends it for good if it is still there then: what it has committed is whole."""
        pid = child.pid

        def check() -> None:
            if child.pid == pid:
                log("warning", "upgrade.slow", child=child.name, child_pid=pid)
                child.kill()

        return check

    def inherited(self, child: Child) -> None:
        """The successor has the place."""
        self._moved = True
        self.messages.waiting.pop(self._asked, None)  # it died before it could answer
        self._fault(child, "inherited")

    def stopped(self, child: Child) -> None:
        """The old one is gone, its successor has not the place yet."""
        if self._told:
            self._fault(child, "stopped")

    def _fault(self, child: Child, point: str) -> None:
        fault_point(f"{child.role}-{point}", self.context.plan.teach)

    def _next(self, story: UpgradeStory) -> None:
        story.todo.pop(0)
        self._begun = False
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self._story is not None and self._story.todo:
            self._end(f"{self._story.todo[0]} was not replaced within {CHILD_LIMIT:g} s")

    def _end(self, error: str | None) -> None:
        self._story = None
        self._cancel()
        for child in self.context.table.all():
            if child.successor is not None:
                child.successor.kill()
        self.on_end(error)
