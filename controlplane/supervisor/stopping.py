"""The orderly stop: control first, so that it takes back its changes of the kernel; then workers.

    stop -> control (undoes nft, sysctl; deadline) -> undo helper if control could not
         -> workers and standby (deadline) -> SIGKILL by pidfd for the slow -> done

A second request, or a second Ctrl-C, skips the waiting, but for the undo helper, which has a
deadline of its own: cut short it would leave the host without forwarding and with our filter.
Deadlines are timers, nothing blocks.
"""

from collections.abc import Callable

from ribcage.controlplane.supervisor.children.helper import Helpers
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.handover import Handover
from ribcage.controlplane.supervisor.loop import Timer
from ribcage.shared.process.log import log


class Stopping:
    """`begin()` starts it, `step()` is called after each death, `on_done` runs at the end."""

    def __init__(
        self,
        context: Context,
        handover: Handover,
        helpers: Helpers,
        on_done: Callable[[], None],
    ) -> None:
        self.context = context
        self.handover = handover
        self.helpers = helpers
        self.on_done = on_done
        self.stage = "none"
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Asks everybody to leave; a second call does not wait any longer."""
        if self.stage != "none":
            self._too_slow()
            return
        log("info", "stop.begin")
        self.context.phase = "stopping"
        for child in self.context.table.all():
            child.cancel_timer()
        self._enter("control", [self.context.table.control], self.context.limits.stop_control)

    def _enter(self, stage: str, children: list[Child], limit: float) -> None:
        self.stage = stage
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.context.loop.after(limit, self._too_slow)
        for child in children:
            if not child.running:
                continue
            if child.channel is None:
                child.kill()
            else:
                child.state = "stopping"
                self.handover.post(child, {"type": "stop"})
        self.step()

    def _members(self) -> list[Child]:
        table = self.context.table
        if self.stage == "control":
            return [table.control]
        return table.all() if self.stage == "workers" else []

    def _too_slow(self) -> None:
        for child in self._members():
            if child.running:
                log("warning", "stop.slow", child=child.name, child_pid=child.pid)
                child.kill()

    def step(self) -> None:
        """Goes on to the next stage when nobody of this one is left."""
        if self.stage == "none" or any(child.running for child in self._members()):
            return
        if self.stage == "control":
            self._undo()
        elif self.stage == "workers":
            self.stage = "done"
            if self._timer is not None:
                self._timer.cancel()
            self.on_done()

    def _undo(self) -> None:
        """Control removes its undo file when all is undone; is it there, control could not."""
        names = self.context.names
        if not names.undo_file.exists():
            self._stop_workers()
            return
        self.stage = "undo"
        if self._timer is not None:
            self._timer.cancel()
        log("warning", "undo.helper", file=str(names.undo_file))
        argv = self.context.roles.undo(names.run_dir)
        self.helpers.run(argv, self.context.limits.undo, self._undone)

    def _undone(self, cause: str, clean: bool, out: bytes, err: bytes) -> None:
        if clean:
            self.context.names.undo_file.unlink(missing_ok=True)
        else:
            log("error", "undo.failed", cause=cause, error=err.decode("utf-8", "replace")[-500:],
                kept=str(self.context.names.undo_file))  # fmt: skip
        self._stop_workers()

    def _stop_workers(self) -> None:
        self._enter("workers", self.context.table.all(), self.context.limits.stop_workers)
