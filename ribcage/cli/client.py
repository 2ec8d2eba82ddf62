"""The command line's use of the management socket: the shared client, with what people need.

    client = Client(path, timeout=5.0)
    answer = client.call("route.get", {"dst": "198.51.100.7"})

Adds to ManagementClient: an answer is always an object, an exit status always one of ours, and
"nobody answers" names the routers that do run.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.management import ManagementClient


class Client:
    """One connection, made at the first call; calls go one after the other."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._client = ManagementClient(path, timeout)

    def close(self) -> None:
        self._client.close()

    def call(
        self, method: str, params: Mapping[str, Any], timeout: float | None = None
    ) -> dict[str, Any]:
        """The result of method; RibcageError for every way of not getting one."""
        try:
            result = self._client.call(method, params, timeout)
        except RibcageError as error:
            raise _ours(self._path, error) from None
        if not isinstance(result, dict):
            raise RibcageError(
                "E_PROTOCOL",
                f"the router answered {method} with {type(result).__name__}, not an object",
                "are command and router of one build? compare: ribcage version",
            )
        return result


def _ours(path: Path, error: RibcageError) -> RibcageError:
    if error.exit_code not in set(Exit) or error.exit_code == Exit.OK:
        error.exit_code = int(Exit.INTERNAL)
    if error.code == "E_NO_DAEMON" and (others := _others(path)):
        error.hint = f"running here: {', '.join(others)} (choose with -i)"
    return error


def _others(path: Path) -> list[str]:
    """Other instances beside the one asked for."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        for entry in sorted(path.parent.parent.glob(f"*/{path.name}"))[:8]:
            if entry != path:
                found.append(entry.parent.name)
    return found
