"""The command line's use of the management socket: the shared client, with what people need.

    client = Client(path, timeout=5.0)
    answer = client.call("route.get", {"dst": "198.51.100.7"})

Adds to ManagementClient: an answer is always an object, an exit status always one of ours, and
"nobody answers" names the routers that do run. While a supervisor lives nobody answering means
that control is being brought back: a request that was not sent yet waits for it, within its
timeout; E_RESTARTING (exit 6) afterwards, or at once when the request may have been carried out.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ribcage.controlplane.supervisor.start.lock import lock_owner
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.management import ManagementClient
from ribcage.shared.process.names import SYSTEM_RUN, Names

SHOWN = 8  # names of a hint
RETRY = 0.05  # seconds between two looks for a control that is being restarted


class Client:
    """One connection, made at the first call; calls go one after the other."""

    def __init__(
        self, path: Path, timeout: float, by_name: bool = True, lock: Path | None = None
    ) -> None:
        """`lock`: the supervisor's, which says whether there is one."""
        self._lock = lock
        self._path = path
        self._by_name = by_name
        self._client = ManagementClient(path, timeout)

    def close(self) -> None:
        self._client.close()

    def call(
        self, method: str, params: Mapping[str, Any], timeout: float | None = None
    ) -> dict[str, Any]:
        """The result of method; RibcageError for every way of not getting one."""
        try:
            result = self._patiently(method, params, timeout or self._client.timeout)
        except RibcageError as error:
            raise _ours(self._path, error, self._by_name) from None
        if not isinstance(result, dict):
            raise RibcageError(
                "E_PROTOCOL",
                f"the router answered {method} with {type(result).__name__}, not an object",
                "are command and router of one build? compare: ribcage version",
            )
        return result

    def _patiently(self, method: str, params: Mapping[str, Any], timeout: float) -> Any:
        """As ManagementClient.call, but a control that is being restarted is waited for."""
        end = time.monotonic() + timeout
        while True:
            try:
                return self._client.call(method, params, max(end - time.monotonic(), 0.001))
            except RibcageError as error:
                owner = None if self._lock is None else lock_owner(self._lock)
                if error.code != "E_NO_DAEMON" or owner is None:
                    raise
                if self._client.sent:
                    raise _restarting(
                        owner, "whether this request was carried out is not known"
                    ) from None
                if time.monotonic() + RETRY >= end:
                    raise _restarting(owner, f"it did not come back within {timeout:g} s") from None
            time.sleep(RETRY)


def _restarting(owner: int, why: str) -> RibcageError:
    return RibcageError(
        "E_RESTARTING",
        f"control is being restarted by supervisor {owner}, and packets go on; {why}",
        "ask again; `ribcage ps --long` tells how the last one ended",
        Exit.TIMEOUT,
    )


def _ours(path: Path, error: RibcageError, by_name: bool) -> RibcageError:
    if error.exit_code not in set(Exit) or error.exit_code == Exit.OK:
        error.exit_code = int(Exit.INTERNAL)
    if error.code == "E_NO_DAEMON":
        error.hint = _who_answers(path, by_name) or error.hint
    return error


def _who_answers(path: Path, by_name: bool) -> str | None:
    """What to ask instead, when that is known."""
    if not by_name and not _is_socket(path):
        what = "is no socket" if path.exists() else "is not there"
        return f"{path} {what}; leave -s out, or give a router's control.sock"
    if by_name and _is_socket(path):  # left by one that was killed
        name = path.parent.parent.name
        return f"nobody listens there any more: ribcage -i {name} ps says who lives"
    others = _others(path) if by_name else []
    return f"running here: {', '.join(others[:SHOWN])} (choose with -i)" if others else None


def _others(path: Path) -> list[str]:
    """The routers beside the one whose management socket `path` is."""
    found = []
    own = path.parent.parent.parent  # as names.py makes it
    bases = [own] if os.environ.get("RIBCAGE_RUN_DIR") or own == SYSTEM_RUN else [own, SYSTEM_RUN]
    for base in bases:
        with contextlib.suppress(OSError):
            for folder in sorted(base.iterdir()):
                with contextlib.suppress(RibcageError):  # a folder that is no router's
                    other = Names(folder.name, base).control_socket
                    if other != path and folder.name not in found and _is_socket(other):
                        found.append(folder.name)
    return found


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except (OSError, ValueError):
        return False
