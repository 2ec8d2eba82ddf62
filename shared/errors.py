"""The one error hierarchy: a code for machines, a message for people, a hint what to do.

Use: `raise RibcageError("E_NO_DAEMON", 'no router "r1" is running', hint="...",
exit_code=Exit.NO_DAEMON)`. The message shows both sides (what was met, what was expected); the
command line prints message and hint and ends with `exit_code`; the management socket sends
`to_json()`. Any process may raise it. A daemon lets it end the process only at start.
"""

from collections.abc import Mapping
from enum import IntEnum

from ribcage.shared.codes import remedy


class Exit(IntEnum):
    """Exit statuses of every command; the numbers are documented and never reused."""

    OK = 0
    NO = 1  # the answer is no: no route, a check failed
    USAGE = 2
    CONFIG = 3
    NO_DAEMON = 4
    PRIVILEGE = 5
    TIMEOUT = 6
    INTERNAL = 7  # a bug, or two builds that do not understand each other
    RUNNING = 8  # a router of this name is already there
    OUTPUT = 9  # the answer could not be written


class RibcageError(Exception):
    """A named failure: `code` ("E_NO_DAEMON"), `message`, `hint`, `exit_code`. Without a hint of
    its own it has the one of its code (codes.py)."""

    def __init__(
        self,
        code: str,
        message: str,
        hint: str | None = None,
        exit_code: int = Exit.INTERNAL,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint if hint is not None else remedy(code)
        self.exit_code = int(exit_code)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"

    def to_json(self) -> dict[str, str | None]:
        """What crosses a socket; the exit status is added by the sender that needs it."""
        return {"code": self.code, "message": self.message, "hint": self.hint}

    @classmethod
    def from_json(
        cls, body: Mapping[str, object], exit_code: int = Exit.INTERNAL
    ) -> "RibcageError":
        """The other direction; fields that are not strings become text, never an exception."""
        hint = body.get("hint")
        return cls(
            str(body.get("code", "E_UNKNOWN")),
            str(body.get("message", "no message")),
            None if hint is None else str(hint),
            exit_code,
        )
