"""What every command has at hand: the options, its output, and a connection when it asks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from ribcage.cli.answer.output import Output
from ribcage.cli.client import Client
from ribcage.cli.options import DEFAULT_TIMEOUT, Options
from ribcage.controlplane.supervisor.start.early import Early
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.names import Names


@dataclass(slots=True)
class Session:
    """One invocation of the command; typer carries it as the context's obj."""

    options: Options
    output: Output
    early: Early = field(default_factory=Early)  # of `run`: loads what control needs meanwhile
    _client: Client | None = field(default=None)

    @property
    def names(self) -> Names:
        return Names.find(self.options.instance)

    @property
    def socket(self) -> Path:
        return self.options.socket or self.names.control_socket

    @property
    def timeout(self) -> float:
        return self.options.timeout or DEFAULT_TIMEOUT

    def patience(self, seconds: float) -> float:
        """The timeout of a call that may take seconds: --timeout, when given, still rules."""
        return self.options.timeout or max(seconds, DEFAULT_TIMEOUT)

    def client(self) -> Client:
        """The connection, made at the first call."""
        if self._client is None:
            by_name = self.options.socket is None
            lock = self.names.supervisor_lock if by_name else None
            self._client = Client(self.socket, self.timeout, by_name, lock)
        return self._client

    def call(self, method: str, timeout: float | None = None, **params: Any) -> dict[str, Any]:
        """One management call; parameters that are None are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        return self.client().call(method, given, timeout)

    def hang_up(self) -> None:
        """Closes the connection; the next call makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None


def session_of(context: typer.Context) -> Session:
    session = context.find_object(Session)
    assert session is not None, "main() gives every command its session"
    return session


def usage(message: str, hint: str | None = None, code: str = "E_USAGE") -> RibcageError:
    """A line that cannot be obeyed: exit 2."""
    return RibcageError(code, message, hint, Exit.USAGE)
