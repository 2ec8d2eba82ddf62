"""What control is in: each message means what it can mean in that state, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from ribcage.controlplane.process.attached import Attached
from ribcage.controlplane.process.state import ControlContext, ControlState
from ribcage.controlplane.process.supervisor_link import SupervisorLink
from ribcage.controlplane.process.tasks import Tasks
from ribcage.controlplane.process.waiting import Waiting
from ribcage.controlplane.workers.workers import Workers
from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import Plan
from ribcage.shared.process.channel import Channel, pair
from ribcage.shared.process.message import Message
from ribcage.shared.process.names import Names


class Process:
    """The loop's side of a control process, with a supervisor that listens."""

    def __init__(self) -> None:
        ours, self.supervisor = pair()
        self.ended: list[object] = []
        self.log: list[str] = []
        self.states: list[ControlState] = []
        self.context = ControlContext(
            SupervisorLink(ours, lambda message: None, lambda: None, self._note),
            self._note,
            Tasks(),
            Workers(),
            {},
            become=self.states.append,
            finish=self.ended.append,
            fail=self.ended.append,
        )

    def _note(self, level: str, event: str, **fields: Any) -> None:
        self.log.append(event)

    def said(self) -> dict[str, Any]:
        message = self.supervisor.recv()
        assert message is not None
        return message.body


@pytest.fixture
def closing(request: pytest.FixtureRequest) -> list[Channel]:
    channels: list[Channel] = []
    request.addfinalizer(lambda: [channel.close() for channel in channels])
    return channels


def states(process: Process) -> list[ControlState]:
    return [Waiting(process.context), Attached(process.context, {})]


def test_before_the_attach_message_a_reload_is_refused_by_name(closing: list[Channel]) -> None:
    """The supervisor waits for an answer, and the plan is in its `attach` anyway."""

    async def scenario() -> None:
        process = Process()
        closing.append(process.supervisor)
        waiting, attached = states(process)
        waiting.messages["reload"](Message("reload", {"id": 7, "plan": {}}))
        answer = process.said()
        assert (answer["type"], answer["id"]) == ("done", 7)
        assert answer["error"] == "this process has no routes yet"
        assert {"dump"}.isdisjoint({*waiting.messages, *attached.messages})
        process.context.link.close()

    asyncio.run(scenario())


def test_without_tables_an_end_of_the_channel_ends_the_process(closing: list[Channel]) -> None:
    """Nothing is worth waiting for a successor, and nothing of the kernel's is undone."""

    async def scenario() -> None:
        process = Process()
        closing.append(process.supervisor)
        for state in states(process):
            state.supervisor_gone()
            state.worker_died()
            await state.stop(undo=True)
        assert process.ended == [False, False]
        process.context.link.close()

    asyncio.run(scenario())


def test_an_attach_message_that_says_too_little_ends_the_process(closing: list[Channel]) -> None:
    """The state is Attached from the message on: a second one means nothing."""

    async def scenario() -> None:
        process = Process()
        closing.append(process.supervisor)
        waiting = Waiting(process.context)
        waiting.messages["promote"](Message("promote", {"plan": {}}))
        (attached,) = process.states
        assert isinstance(attached, Attached)
        assert {"attach", "promote"}.isdisjoint(attached.messages)
        await asyncio.sleep(0)
        (error,) = process.ended
        assert isinstance(error, RibcageError) and error.code == "E_ATTACH"
        process.context.link.close()

    asyncio.run(scenario())


def test_what_comes_while_the_tables_are_opened_is_handed_on(
    closing: list[Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload: its plan is newer than that of the attach message, and the supervisor sends it
    once. The death of a worker: it may have held a lock that only who has the tables can break."""
    heard: list[Message] = []
    order: list[str] = []

    class Next:
        def __init__(self, *parts: object) -> None:
            self.messages = {"reload": heard.append}

        def worker_died(self) -> None:
            order.append("lock broken")

        async def begin(self, start: int) -> None:
            order.append("begun")

    opened = asyncio.Event()

    async def opening(*parts: object) -> Any:
        await opened.wait()
        return MagicMock()

    async def scenario() -> None:
        process = Process()
        closing.append(process.supervisor)
        body = {"plan": Plan("t").to_json(), "names": Names("t", Path("/x")).to_json(),
                "instance_id": 7}  # fmt: skip
        state = Attached(process.context, body)
        begun = asyncio.ensure_future(state.begin())
        await asyncio.sleep(0)
        reload = Message("reload", {"id": 7, "plan": {}})
        state.messages["reload"](reload)
        state.worker_died()
        opened.set()
        await begun
        assert (process.ended, heard, order) == ([], [reload], ["lock broken", "begun"])
        process.context.link.close()

    for name, fake in (("Running", Next), ("open_segments", opening)):
        monkeypatch.setattr(f"ribcage.controlplane.process.attached.{name}", fake)
    monkeypatch.setattr("ribcage.controlplane.process.attached.show_as", lambda *words: None)
    monkeypatch.setattr("ribcage.controlplane.process.attached.lines.setup", lambda *words: None)
    asyncio.run(scenario())


def test_who_waits_for_a_supervisor_that_dies_is_told_at_once(closing: list[Channel]) -> None:
    """Its successor was not asked: `ps`, `reload` and `stop` do not sit out their limit."""

    async def scenario() -> None:
        process = Process()
        closing.append(process.supervisor)
        link = process.context.link
        asked = asyncio.ensure_future(link.ask({"type": "ps-request"}, limit=60.0))
        await asyncio.sleep(0)
        process.supervisor.close()
        with pytest.raises(RibcageError, match="the supervisor is gone"):
            await asyncio.wait_for(asked, 5)
        link.close()

    asyncio.run(scenario())
