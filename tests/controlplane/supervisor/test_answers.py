"""Who may answer a question of the supervisor's: whom it was asked, nobody else."""

from typing import Any
from unittest.mock import MagicMock

import pytest

from ribcage.controlplane.supervisor.children.backoff import Backoff
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.messages import Messages
from ribcage.shared.process.message import Message


class Said:
    """A channel with these messages to be read."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = [Message(str(body["type"]), body) for body in messages]

    def recv(self) -> Message | None:
        return self.messages.pop(0) if self.messages else None


def child(role: str, *messages: dict[str, Any]) -> Child:
    found = Child(role, 0, Backoff(5, 60.0))
    found.channel = Said(*messages)  # type: ignore[assignment]
    return found


@pytest.fixture(autouse=True)
def no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would ask for times that these contexts do not have."""
    monkeypatch.setattr("ribcage.controlplane.supervisor.messages.Watchdog", MagicMock())


def test_a_worker_cannot_say_that_a_reload_is_done() -> None:
    """Control was asked: a worker's `done` of the same number is refused, control's is heard."""
    messages = Messages(MagicMock(), MagicMock(), MagicMock(), on_stop=MagicMock(),
                        on_reload=MagicMock(), on_progress=MagicMock())  # fmt: skip
    heard: list[str | None] = []
    control = child("control", {"type": "done", "id": 1, "error": "no"})
    messages.ask(control, {"type": "reload"}, heard.append)
    messages.serve(child("worker", {"type": "done", "id": 1}))
    assert heard == [] and messages.refused == 1
    messages.serve(control)
    assert heard == ["no"]


def test_a_worker_that_has_begun_cannot_end_the_start_of_the_router() -> None:
    """`failed` is for who is starting; from anybody else it is refused, and nothing ends."""
    context = MagicMock()
    messages = Messages(context, MagicMock(), MagicMock(), on_stop=MagicMock(),
                        on_reload=MagicMock(), on_progress=MagicMock())  # fmt: skip
    worker = child("worker", {"type": "failed", "code": "E_SHM_FULL", "message": "no", "exit": 5})
    worker.became_ready()
    messages.serve(worker)
    assert messages.refused == 1 and not context.beginning.failed.called
