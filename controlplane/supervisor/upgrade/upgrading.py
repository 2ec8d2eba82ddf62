"""An upgrade from its request to its end: before the exec here, after it in the new build.

    upgrading.request(python, force)    # from control; E_UPGRADE when it cannot begin
    upgrading.resume(story)             # in the new image
    upgrading.step()                    # after every birth and death

    check -> wait until nothing is under way -> exec -> (new build) workers, control, standby

The supervisor goes first: it alone can fork the new build, and an old child understands a new
supervisor (they agree on the channel). Control goes last, so that who asked can watch the rest.
"""

import sys
import time
from typing import Any

from ribcage.controlplane.supervisor.children.helper import Helpers
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.upgrade.carry import Parts, capture
from ribcage.controlplane.supervisor.upgrade.check import Report
from ribcage.controlplane.supervisor.upgrade.faults import fault_point
from ribcage.controlplane.supervisor.upgrade.moving import Moving
from ribcage.controlplane.supervisor.upgrade.reexec import checking, exec_image
from ribcage.controlplane.supervisor.upgrade.story import DONE, FAILED, UpgradeStory
from ribcage.controlplane.supervisor.upgrade.successors import Successors
from ribcage.controlplane.supervisor.upgrade.trust import interpreter, refused
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib_sync import WITH_SEGMENT
from ribcage.shared.process.log import log
from ribcage.shared.process.message import Message
from ribcage.shared.protocol import ours

CHECK_LIMIT = 60.0  # imports everything once, perhaps without compiled files
QUIET_LIMIT = 30.0  # for a reload, a departure or a birth that is under way
QUIET_LOOK = 0.05


class Upgrading:
    """One at a time. `successors` fill places, for lifecycle.py to ask."""

    def __init__(self, parts: Parts, handover: Handover, helpers: Helpers) -> None:
        context, messages = parts.context, parts.messages
        self.parts = parts
        self.context = context
        self.messages = messages
        self.handover = handover
        self.helpers = helpers
        self.story: UpgradeStory | None = None
        self._looks = 0
        self.successors = Successors(
            context,
            handover,
            parts.lifecycle,
            on_stopped=lambda child: self.moving.stopped(child),
            on_inherited=lambda child: self.moving.inherited(child),
        )
        self.moving = Moving(
            context, parts.lifecycle, self.successors.fork, handover, messages, self._ended
        )

        messages.handlers["upgrade-request"] = "control", self._requested
        messages.handlers["story-request"] = "control", self._tell

    @property
    def running(self) -> bool:
        return self.story is not None and self.story.running

    def request(self, named: str | None, force: bool = False) -> int:
        """Begins one; its number. E_UPGRADE: another is under way, or no such build."""
        context = self.context
        if self.running:
            raise refused("an upgrade is under way", "`ribcage upgrade --watch` shows it")
        if context.phase != "running":
            raise refused(f"the router is {context.phase}")
        python = sys.executable if named is None else interpreter(named)
        number = 1 if self.story is None else self.story.number + 1
        story = UpgradeStory(number, ours().build, python, time.monotonic_ns(), force)
        self.story = story
        log("info", "upgrade.begin", python=python, build=story.from_build)
        story.step("check")
        fd = capture(self.parts, python, {}).seal()
        self.helpers.run(checking(python), CHECK_LIMIT, self._checked, fd)
        return number

    def step(self) -> None:
        self.moving.step()

    def _requested(self, child: Child, message: Message) -> None:
        reply: dict[str, Any] = {"type": "done", "id": message.body.get("id")}
        python = message.body.get("python")
        try:
            named = python if isinstance(python, str) else None
            reply["upgrade"] = self.request(named, message.body.get("force") is True)
        except RibcageError as error:
            reply |= {"error": error.message, "code": error.code, "hint": error.hint}
        self.handover.post(child, reply)

    def _tell(self, child: Child, message: Message) -> None:
        """The story of the last one; empty when there was none."""
        story = {} if self.story is None else self.story.to_json()
        reply = {"type": "done", "id": message.body.get("id"), "story": story}
        self.handover.post(child, reply)

    # ---- before the exec ----

    def _checked(self, cause: str, clean: bool, out: bytes, err: bytes) -> None:
        """The new build has read a copy of our state, or has not."""
        story = self.story
        if story is None:
            return
        try:
            if not clean:
                last = err.decode("utf-8", "replace").strip().splitlines()[-4:]
                why = " / ".join(line.strip() for line in last)[-400:]
                raise refused(f"the new build {cause} in its check: {why or 'no word'}")
            found = Report.read(out)
            story.to_build = found.build
            story.layouts = found.other_layouts(self._kept())
        except RibcageError as error:
            self._fail(error.message, error.hint)
            return
        story.ended(f"{found.version}+{found.build} in {found.package}")
        fault_point("checked", self.context.plan.teach)
        workers = [worker.name for worker in self.context.workers]
        # Who makes the segments of another layout comes before those who read them.
        first = ["control", *workers] if story.layouts else [*workers, "control"]
        story.todo = [*first, "standby"]
        story.step("quiet")
        self._looks = 0
        self._when_quiet()

    def _kept(self) -> set[str]:
        """Segments that are not made again from others: routes are in the RIB alone, and all who
        lock have to lock the same words. The FIB comes from the RIB; counters begin anew."""
        return {"rib", "sync"} if self.context.plan.fib.sync in WITH_SEGMENT else {"rib"}

    def _busy(self) -> str | None:
        """What an exec would lose sight of."""
        context = self.context
        if context.table.leaving:
            return "a worker is leaving"
        if self.messages.waiting:
            return "a reload is under way"
        if self.helpers.running:
            return "a helper program is running"
        if self.parts.manager.pending:
            return "who keeps the descriptors has not read them all"
        if not self.parts.ward.announced:
            return "the router is not ready yet"
        others = [child for child in context.table.running() if child.state != "ready"]
        return f"{others[0].name} is {others[0].state}" if others else None

    def _when_quiet(self) -> None:
        story = self.story
        if story is None or not story.running:
            return
        if self.context.phase != "running":
            self._fail("the router is being stopped")
            return
        busy = self._busy()
        if busy is None:
            self._exec(story)
            return
        self._looks += 1
        if self._looks * QUIET_LOOK > QUIET_LIMIT:
            self._fail(busy, "begin again when it is done")
            return
        self.context.loop.after(QUIET_LOOK, self._when_quiet)

    def _exec(self, story: UpgradeStory) -> None:
        story.ended()
        story.step("supervisor")
        log("info", "upgrade.exec", python=story.python, build=story.to_build)
        fault_point("exec", self.context.plan.teach)
        try:
            exec_image(story.python, capture(self.parts, sys.executable, story.to_json()))
        except (OSError, RibcageError) as error:
            self._fail(f"{story.python}: {error}")

    # ---- after it ----

    def resume(self, story: UpgradeStory | None) -> None:
        """In the new image, which has everything back; or in the old one, which has it again."""
        self.story = story
        self.parts.lifecycle.share_frames()
        if story is None or not story.running:
            return
        if story.back is not None:
            self._fail(story.back, "the router goes on with the build it had")
            return
        self.context.other_layout = bool(story.layouts)
        story.to_build = ours().build
        story.ended("same pid, same children")
        log("info", "upgrade.resumed", build=story.to_build, before=story.from_build)
        fault_point("resumed", self.context.plan.teach)
        self.moving.begin(story)

    def _fail(self, error: str, hint: str | None = None) -> None:
        log("error", "upgrade.failed", error=error)
        if self.story is not None:
            self.story.end(FAILED, error, hint)

    def _ended(self, error: str | None) -> None:
        story = self.story
        if story is None:
            return
        if error is not None:
            self._fail(error, "who runs what: `ribcage ps --long`; then upgrade again, or back "
                       "with --to")  # fmt: skip
            return
        story.end(DONE)
        log("info", "upgrade.done", build=story.to_build,
            ms=round((story.ended_ns - story.steps[0]["begun_ns"]) / 1e6))  # fmt: skip
        fault_point("done", self.context.plan.teach)
