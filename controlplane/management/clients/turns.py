"""Whose request is answered next: one at a time, and the one who has cost least goes first.

    turns = Turns(max_rate=2000, cpu_share=0.5)
    turns.join(peer)
    await turns.turn(peer);  ...;  turns.done(peer, seconds)
    turns.leave(peer)

Twenty clients that pipeline the dearest question made a ping wait for 6 s: their requests were
answered one behind the other without a turn of the loop between. So the loop turns after each
answer, and a process that has cost less of late (a cost halves every HALF_LIFE) passes those that
have cost more. Who is no admin waits besides so long that one user takes at most `cpu_share` of
control's time and `max_rate` requests a second: two clocks a user, each moved on by what a request
costs (the virtual scheduling of ITU-T I.371's GCRA). Nobody is refused for being fast; the
connection's own bounds end the rest. Control only, one thread.
"""

import asyncio
from dataclasses import dataclass

from ribcage.controlplane.management.peer import Peer, Role

HALF_LIFE = 1.0  # seconds
BURST = 0.1  # seconds' worth that a user may be ahead of its two clocks


@dataclass(slots=True)
class _Account:
    """Of a process: what it has cost, as of `at`. Of a user: when its clocks stand."""

    members: int = 0
    cost: float = 0.0
    at: float = 0.0
    cpu_clock: float = 0.0
    rate_clock: float = 0.0

    def now_cost(self, now: float) -> float:
        return self.cost * float(0.5 ** ((now - self.at) / HALF_LIFE))


@dataclass(slots=True, eq=False)
class _Waiter:
    peer: Peer
    granted: asyncio.Future[None]


class Turns:
    """See the module's text. `delayed` counts turns that a user's clocks put off."""

    def __init__(self, max_rate: float, cpu_share: float) -> None:
        self.delayed = 0
        self.limit(max_rate, cpu_share)
        self._loop = asyncio.get_running_loop()
        self._processes: dict[tuple[int, int], _Account] = {}
        self._users: dict[int, _Account] = {}
        self._waiting: list[_Waiter] = []
        self._free = True
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, max_rate: float, cpu_share: float) -> None:
        self._max_rate, self._cpu_share = max_rate, cpu_share

    # -- members

    def join(self, peer: Peer) -> None:
        """A connection of this peer; its account lives as long as one of them does."""
        now = self._loop.time()
        self._processes.setdefault((peer.uid, peer.pid), _Account(at=now)).members += 1
        self._users.setdefault(peer.uid, _Account(at=now)).members += 1

    def leave(self, peer: Peer) -> None:
        process = self._processes[peer.uid, peer.pid]
        process.members -= 1
        if process.members == 0:
            del self._processes[peer.uid, peer.pid]
        user = self._users[peer.uid]
        user.members -= 1
        # A user that comes back at once must not begin with clocks that stand at zero.
        if user.members == 0 and self._ready_at(peer) <= self._loop.time():
            del self._users[peer.uid]

    def clients(self, peer: Peer) -> tuple[int, int]:
        """Connections of this process, and of this user."""
        process = self._processes.get((peer.uid, peer.pid))
        user = self._users.get(peer.uid)
        return process.members if process else 0, user.members if user else 0

    # -- turns

    async def turn(self, peer: Peer) -> None:
        """Until it is this peer's turn. Who was granted one says `done`, whatever happens."""
        if self._free and not self._waiting and self._ready_at(peer) <= self._loop.time():
            self._free = False
            return
        waiter = _Waiter(peer, self._loop.create_future())
        self._waiting.append(waiter)
        if self._free:
            self._grant()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.granted.done() and not waiter.granted.cancelled():
                self._pass_on()
            raise

    def done(self, peer: Peer, seconds: float) -> None:
        """The turn is over and has cost so much; the next one begins after a turn of the loop."""
        now = self._loop.time()
        process = self._processes.get((peer.uid, peer.pid))
        if process is not None:
            process.cost, process.at = process.now_cost(now) + seconds, now
        user = self._users.get(peer.uid)
        if user is not None:
            user.cpu_clock = max(user.cpu_clock, now) + seconds / self._cpu_share
            user.rate_clock = max(user.rate_clock, now) + 1 / self._max_rate
        self._pass_on()

    def _pass_on(self) -> None:
        self._loop.call_soon(self._grant)

    def _ready_at(self, peer: Peer) -> float:
        user = self._users.get(peer.uid)
        if peer.role is Role.ADMIN or user is None:
            return 0.0
        return max(user.cpu_clock, user.rate_clock) - BURST

    def _grant(self) -> None:
        """To the cheapest of those whose clocks let them; else when the first one's do."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        self._free = True
        # Who was cancelled in this very turn of the loop has not taken itself off the list yet.
        self._waiting = [waiter for waiter in self._waiting if not waiter.granted.done()]
        if not self._waiting:
            return
        ready = [waiter for waiter in self._waiting if self._ready_at(waiter.peer) <= now]
        if not ready:
            self.delayed += 1
            first = min(self._ready_at(waiter.peer) for waiter in self._waiting)
            self._timer = self._loop.call_at(first, self._grant)
            return
        chosen = min(ready, key=lambda waiter: self._cost(waiter.peer, now))  # ties: who came first
        self._waiting.remove(chosen)
        self._free = False
        chosen.granted.set_result(None)

    def _cost(self, peer: Peer, now: float) -> float:
        process = self._processes.get((peer.uid, peer.pid))
        return process.now_cost(now) if process is not None else 0.0
