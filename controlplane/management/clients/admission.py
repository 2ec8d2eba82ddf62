"""Whether one more management client is served, and who gives way to it.

    why = admission.refuses(peer, plan, unfinished)      # None: it is let in

At most `max_clients` are served, one place of them for admins alone, and at most `max_per_user`
of one user who is no admin. When all places are taken, a client that has said nothing for IDLE
gives way, or one of a process that holds at least two places more than the newcomer's: ten
thousand connections of one program must not keep an operator's `ping` out. Control only.
"""

from collections import Counter
from collections.abc import Mapping

from ribcage.controlplane.management.clients.connection import Connection
from ribcage.controlplane.management.clients.turns import Turns
from ribcage.controlplane.management.peer import Peer, Role
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import ManagementPlan

IDLE = 1.0  # seconds without a byte after which a place is nobody's when somebody needs it


class Admission:
    """`connections` and `counters` are the server's."""

    def __init__(
        self, connections: Mapping[int, Connection], turns: Turns, counters: "Counter[str]"
    ) -> None:
        self._connections = connections
        self._turns = turns
        self._counters = counters

    def refuses(self, peer: Peer, plan: ManagementPlan, unfinished: int) -> RibcageError | None:
        """Makes room if that is right. `unfinished`: changes under way whose client has gone."""
        _, of_user = self._turns.clients(peer)
        if peer.role is not Role.ADMIN and of_user >= plan.max_per_user:
            return RibcageError(
                "E_TOO_MANY_CLIENTS",
                f"uid {peer.uid} has {of_user} clients, management.max_per_user allows no more",
                "end one of them, or raise it",
                Exit.TIMEOUT,
            )
        limit = plan.max_clients - (0 if peer.role is Role.ADMIN else 1)
        if len(self._connections) + unfinished < limit:
            return None
        victim = self._gives_way(peer)
        if victim is None:
            return RibcageError(
                "E_TOO_MANY_CLIENTS",
                f"too many clients ({limit} are served at once)",
                "try again, or see system.clients",
                Exit.TIMEOUT,
            )
        self._counters["gave_way"] += 1
        victim.drop("gives way to another client")
        return None

    def _gives_way(self, peer: Peer) -> Connection | None:
        """The longest idle of the process that holds most; None when nobody has to."""
        mine, _ = self._turns.clients(peer)
        found = [
            connection
            for connection in self._connections.values()
            if connection.idle_for() >= IDLE
            or self._turns.clients(connection.peer)[0] >= mine + 2
            or (peer.role is Role.ADMIN and connection.peer.role is not Role.ADMIN)
        ]
        return max(
            found,
            key=lambda one: (self._turns.clients(one.peer)[0], one.idle_for(), -one.number),
            default=None,
        )
