"""The control process: the routing table's owner, and the FIB's only writer.

It may write the RIB and FIB segments, talk netlink, serve the management socket and read worker
events. It may not forward, nor block on a worker, a client or a route source: one asyncio loop
whose every callback is guarded, counted and logged. Its death stops updates, nothing else.

    attach/promote -> the states of state.py, up to Running
    stop           -> management closed, kernel settings undone, exit 0
    SIGTERM        -> the same without undoing: the standby goes on

Use: `run_control(channel_fd, standby)` in a forked child. A standby has everything imported and
waits for `promote`, holding no lock and no route.
"""

import asyncio
import signal
from typing import Any

from ribcage.controlplane.process.logs import make_log
from ribcage.controlplane.process.state import ControlContext, ControlState
from ribcage.controlplane.process.supervisor_link import SupervisorLink, hello
from ribcage.controlplane.process.tasks import Tasks
from ribcage.controlplane.process.waiting import Waiting
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process import log as lines
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import Message


def run_control(channel_fd: int, standby: bool = False) -> None:
    """The whole life of a control process or of a standby. SystemExit with a status."""
    raise SystemExit(asyncio.run(_live(channel_fd, standby)))


async def _live(channel_fd: int, standby: bool) -> int:
    return await ControlProcess(channel_fd, standby).main()


class ControlProcess:
    """The loop's side of the process: signals, messages, the end. What it does is its state's."""

    def __init__(self, channel_fd: int, standby: bool) -> None:
        """Needs the running loop."""
        loop = asyncio.get_running_loop()
        self._log = make_log()
        self._role = "standby" if standby else "control"
        self._done: asyncio.Future[bool] = loop.create_future()
        loop.set_exception_handler(self._unhandled)
        loop.add_signal_handler(signal.SIGTERM, self._finish, False)
        self._counters = {"events": 0, "events_failed": 0, "unhandled": 0}
        self._workers = Workers()
        self._link = SupervisorLink(
            Channel.from_fd(channel_fd), self._hear, self._supervisor_gone, self._log
        )
        self._state: ControlState = Waiting(
            ControlContext(
                self._link,
                self._log,
                Tasks(),
                self._workers,
                self._counters,
                become=self._become,
                finish=self._finish,
                fail=self._fail,
            )
        )

    # -- life

    async def main(self) -> int:
        """Until an orderly stop; the exit status."""
        self._link.say(hello(self._role, "", again=False))
        if self._role == "standby":
            self._link.say({"type": "ready", "generation": 0})  # everything is imported
        try:
            undo = await self._done
            await self._state.stop(undo)
            self._log("info", "control.stop", undone=undo)
        except RibcageError as error:
            why = {"code": error.code, "why": error.message, "hint": error.hint}
            self._log("error", "control.fatal", **why)
            self._link.say({"type": "failed", **error.to_json(), "exit": error.exit_code})
            return error.exit_code
        except Exception as error:
            self._log("error", "control.fatal", exc_info=error)
            return int(Exit.INTERNAL)
        finally:
            self._link.close()
        return 0

    def _become(self, state: ControlState) -> None:
        self._state = state

    def _finish(self, undo: bool) -> None:
        if not self._done.done():
            self._done.set_result(undo)

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback or a task raised: the loop goes on, the log has it."""
        self._counters["unhandled"] += 1
        error = context.get("exception")
        self._log("error", "loop.unhandled", what=str(context.get("message")), exc_info=error)

    # -- the supervisor

    def _hear(self, message: Message) -> None:
        """One message of the supervisor; its descriptors are closed by the caller if left."""
        body = message.body
        match message.type:
            case "workers":
                self._workers.attach(message)
                rows = body.get("workers")
                if self._workers.states(rows if isinstance(rows, list) else []):
                    self._state.worker_died()
            case "port-opened":
                if not body.get("ok"):
                    self._log("error", "port.refused", index=body.get("index"),
                              why=str(body.get("error"))[:200])  # fmt: skip
            case "welcome":
                self._link.welcomed(message)
            case "ping":  # the watchdog's: what answers it is this loop
                self._link.say({"type": "pong", "id": body.get("id")})
            case "log-level":
                lines.set_level(str(body.get("level")))
            case "log-file":
                lines.write_to(message.fds.get("log", -1))
            case "stop":
                self._finish(True)
            case "ps" | "done":
                pass  # an answer nobody waits for any more
            case name if (handler := self._state.messages.get(name)) is not None:
                handler(message)
            case _:
                self._log("warning", "channel.unknown", type=message.type)

    def _supervisor_gone(self) -> None:
        self._state.supervisor_gone()
