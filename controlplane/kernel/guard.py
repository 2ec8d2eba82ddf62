"""Keeps the kernel's forwarding off while the router runs.

Routing daemons and container engines switch it on when they start; then the kernel would send
every packet a second time. The monitor hears RTM_NEWNETCONF, and the switch is set back, ten
times in ten seconds at most: when somebody insists, that is logged and left as it is.
Used by Kernel.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ribcage.controlplane.kernel.changes.settings import Sysctls
from ribcage.controlplane.kernel.events import ForwardingEvent
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.netlink.messages import ALL_INTERFACES, ForwardingMessage

ATTEMPTS: Final = 10
ATTEMPT_WINDOW: Final = 10.0


class ForwardingGuard:
    """Sets the switch back and tells `emit`; `set_back` counts."""

    def __init__(
        self,
        settings: Sysctls,
        links: LinkTable,
        emit: Callable[[ForwardingEvent], None],
        log: Callable[..., None],
    ) -> None:
        self.set_back = 0
        self._settings = settings
        self._links = links
        self._emit = emit
        self._log = log
        self._attempts: deque[float] = deque()
        self._later: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Forget the second look."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def switched_on(self, message: ForwardingMessage) -> None:
        """A message says that some switch is on. It may be stale: the file decides."""
        link = self._links.links.get(message.ifindex)
        name = link.name if link else None
        path = self._settings.forwarding_path(message.family, message.ifindex, name)
        # When everything was switched on, each interface is told as well: one write ends it.
        switch = self._settings.forwarding_path(message.family, ALL_INTERFACES, None)
        if switch is not None and self._settings.read(switch) == "1":
            path, name = switch, None
        if path is None or self._settings.read(path) in (None, "0"):
            return
        restored = self._switch_off_again(path, message)
        self._log("warning", "kernel.forwarding-on", setting=path, restored=restored)
        self._emit(ForwardingEvent(name, message.ifindex, message.family, restored))

    def _switch_off_again(self, path: str, message: ForwardingMessage) -> bool:
        now = time.monotonic()
        while self._attempts and self._attempts[0] < now - ATTEMPT_WINDOW:
            self._attempts.popleft()
        if len(self._attempts) >= ATTEMPTS:
            # Look again when the window has passed: nothing may be told of it any more.
            self.close()
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(ATTEMPT_WINDOW, self.switched_on, message)
            return False
        self._attempts.append(now)
        try:
            restored = bool(self._settings.switch_off(path))
        except OSError as error:  # the journal could not be written, so nothing was changed
            self._log("warning", "kernel.journal", why=error.strerror)
            return False
        self.set_back += restored
        return restored
