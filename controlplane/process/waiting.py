"""Waiting: everything is imported, no lock is held, no route is known.

So a control process begins, and a standby stays until `promote`.
"""

from ribcage.controlplane.process.attached import Attached
from ribcage.controlplane.process.state import ControlContext, ControlState
from ribcage.shared.process.message import Message


class Waiting(ControlState):
    """See the module's text."""

    def __init__(self, context: ControlContext) -> None:
        super().__init__(context)
        self.messages = {**self.messages, "attach": self._attach, "promote": self._attach}

    def _attach(self, message: Message) -> None:
        context = self.context
        context.workers.attach(message)
        fib = message.take("fib")
        attached = Attached(context, message.body, -1 if fib is None else fib)
        context.become(attached)
        context.tasks.spawn(attached.begin(), "begin")
