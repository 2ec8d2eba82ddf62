"""How a function becomes a method of the management socket.

    @method("neighbour.list")
    def neighbours(router: RouterView, call: Call, params: dict[str, Any]) -> dict[str, Any]: ...

It checks its params (a wrong one is a named error) and returns JSON values, or is a coroutine that
does. Who may call it is the second argument, checked by the server and not here; `call` says who
asks. What takes long is sliced or awaited, so that a short command of another client never waits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ribcage.controlplane.management.peer import Role
from ribcage.controlplane.management.router import RouterView
from ribcage.controlplane.management.server import Call

MethodFunction = Callable[[RouterView, Call, dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class NamedMethod:
    """A method without its router; `answer` is the function as it was written."""

    name: str
    role: Role
    answer: MethodFunction


def method(name: str, role: Role = Role.VIEWER) -> Callable[[MethodFunction], NamedMethod]:
    """See the module's text."""
    return lambda answer: NamedMethod(name, role, answer)
