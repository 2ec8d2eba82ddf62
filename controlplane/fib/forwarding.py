"""Keeps ports, adjacencies and groups in the FIB up to date. Control only.

    forwarding.define(7, nexthops)        # group 7 and its adjacencies exist from here on
    forwarding.put_port(port)             # one record, its adjacencies, the groups it lives in
    forwarding.neighbour(hop, known)      # one adjacency word, whatever the number of routes
    dead, revived = forwarding.liveness_changes()  # set ids whose routes lost / found their way out

It remembers what the FIB holds (`recover` reads it back after a takeover) and writes only what
differs, so a restart of control moves nothing. An adjacency that no group names any more is
cleared after two publishes and its id taken again after two more: a reader's batch that saw the
old word has ended or is repeated by then (fib_layout.h, "Writing").

Nothing here publishes: the caller wraps calls in the publisher's batch.
"""

from collections.abc import Iterable

from ribcage.shared._core import lib

from ribcage.controlplane.fib.records import Tables, adjacency_record, port_record
from ribcage.controlplane.values.neighbour import Neighbour
from ribcage.controlplane.values.nexthop import PATH_KINDS, NexthopSet, eligible, group_plan
from ribcage.controlplane.values.topology import Topology
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_records import Adjacency, AdjacencyState, Group, Hop, Port

REUSE_AFTER = 2  # publishes between retiring an id and using it again


class Forwarding:
    """See the module's text. `topology` and `neighbours` are shared with their owner."""

    def __init__(
        self, tables: Tables, topology: Topology, neighbours: dict[Hop, Neighbour]
    ) -> None:
        self.tables = tables
        self.topology = topology
        self.neighbours = neighbours
        self.sets: dict[int, NexthopSet] = {}
        self.dead: set[int] = set()
        self.changed = False  # words were written since the last publish
        self._groups: dict[int, Group] = {}
        self._adjacencies: dict[int, Adjacency] = {}
        self._ports: dict[int, Port] = {}
        self._ids: dict[Hop, int] = {}
        self._users: dict[Hop, set[int]] = {}
        self._lonely: dict[Hop, int] = {}  # hops without users -> publish count then
        self._free: list[int] = []
        self._retired: list[tuple[int, int]] = []  # (publish count, adjacency id)
        self._next = 1
        self._publishes = 0

    # -- takeover

    def recover(self) -> None:
        """Reads back what the dead writer left: ids stay what they were."""
        for port in self.tables.read_ports():
            self._ports[port.index] = port
            self.topology.indices[port.name] = port.index
        for adjacency, record in self.tables.read_adjacencies():
            self._adjacencies[adjacency] = record
            # Two ids for one hop can only be a half-done release: the lower one stays.
            self._ids.setdefault(record.hop, adjacency)
            self._next = max(self._next, adjacency + 1)
        for group, plan in self.tables.read_groups():
            self._groups[group] = plan
        self._free = [i for i in range(self._next - 1, 0, -1) if i not in self._adjacencies]
        self._lonely = dict.fromkeys(self._ids, 0)  # until a set names them

    def restore(self) -> None:
        """Takes links and neighbours from the FIB, so that nothing is taken for dead by silence."""
        for port in self._ports.values():
            if port.index not in self.topology.ports:
                self.topology.put(port)
        for adjacency in self._adjacencies.values():
            if adjacency.state is AdjacencyState.RESOLVED:
                known = Neighbour(adjacency.target_mac, "restored")
                self.neighbours.setdefault(adjacency.hop, known)

    def strays(self, used: set[int]) -> list[int]:
        """Groups in the FIB that no known set uses: what a death between two steps left."""
        return [group for group in self._groups if group not in used]

    # -- sets and groups

    def define(self, group: int, nexthops: NexthopSet, like: int | None = None) -> None:
        """Makes group `group` mean `nexthops`; nothing when it already does.

        `like`: a group whose buckets a new one starts from, so that flows stay on the paths
        both have.

        E_ADJACENCIES (exit 1) when the adjacency table is full: nothing was changed then.
        """
        before = self.sets.get(group)
        if before != nexthops:
            self._reserve(sum(hop not in self._ids for hop in nexthops.hops()))
            self.sets[group] = nexthops
            for hop in nexthops.hops():
                self._users.setdefault(hop, set()).add(group)
                self._lonely.pop(hop, None)
                self._adjacency(hop)
        self._refresh(group, like)
        # Only now does no bucket name the old paths' adjacencies.
        if before is not None:
            self._unuse(group, set(before.hops()) - set(nexthops.hops()))

    def forget(self, group: int) -> None:
        """The group is used by no route any more: its record and lonely adjacencies go.

        Call it only when the FIB's withdrawals of the routes have been published.
        """
        self.dead.discard(group)
        if group in self._groups:
            self.tables.clear_group(group)
            del self._groups[group]
            self.changed = True
        nexthops = self.sets.pop(group, None)
        if nexthops is not None:
            self._unuse(group, nexthops.hops())

    def liveness_changes(self) -> tuple[list[int], list[int]]:
        """Which sets became ineligible and which eligible since the last call; sorted ids."""
        now = {
            group
            for group, nexthops in self.sets.items()
            if nexthops.kind in PATH_KINDS and not eligible(nexthops, self.topology.alive)
        }
        died, revived = sorted(now - self.dead), sorted(self.dead - now)
        self.dead = now
        return died, revived

    # -- ports and neighbours

    def put_port(self, port: Port) -> None:
        """A port is new or changed: its record, its adjacencies, the groups that live on it."""
        self.topology.put(port)
        record = port_record(port)
        if self._ports.get(port.index) != record:
            self._ports[port.index] = record
            self.tables.write_port(record)
            self.changed = True
        self._refresh_port(port.index)

    def drop_port(self, index: int) -> None:
        """The link is gone. Its index stays reserved; groups lose the paths over it."""
        self.topology.drop(index)
        self._refresh_port(index)
        if self._ports.pop(index, None) is not None:
            self.tables.clear_port(index)
            self.changed = True

    def neighbour(self, hop: Hop, known: Neighbour | None) -> bool:
        """What the kernel now knows of an on-link address; True when a word was written."""
        if known is None:
            self.neighbours.pop(hop, None)
        else:
            self.neighbours[hop] = known
        adjacency = self._ids.get(hop)
        return adjacency is not None and self._write_adjacency(adjacency, hop)

    def adjacency_of(self, hop: Hop) -> int | None:
        return self._ids.get(hop)

    def group(self, group: int) -> Group | None:
        """What the FIB holds for a group id."""
        return self._groups.get(group)

    def text(self, group: int) -> str:
        """A set's number for people: `via 10.0.2.9 dev eth2`, `blackhole`, `no route`."""
        if group == 0:
            return "no route"
        nexthops = self.sets.get(group)
        return f"unknown set {group}" if nexthops is None else self.topology.describe(nexthops)

    def published(self) -> None:
        """A publish happened: retired ids come closer to being used again."""
        self.changed = False
        self._publishes += 1
        while self._retired and self._retired[0][0] + REUSE_AFTER <= self._publishes:
            self._free.append(self._retired.pop(0)[1])

    def write_all(self) -> None:
        """Everything remembered, into tables that are empty. Adjacencies before the groups that
        name them."""
        for port in self._ports.values():
            self.tables.write_port(port)
        for adjacency, record in self._adjacencies.items():
            self.tables.write_adjacency(adjacency, record)
        for group, plan in self._groups.items():
            self.tables.write_group(group, plan)
        self.changed = True

    # -- what the tables should hold, for those who compare

    def adjacency(self, number: int) -> Adjacency | None:
        return self._adjacencies.get(number)

    def port(self, index: int) -> Port | None:
        return self._ports.get(index)

    def fits(self, group: int) -> bool:
        """Whether the group is what its set and the links want now."""
        return group not in self.sets or self._plan(group, None) == self._groups.get(group)

    def refresh(self, group: int) -> None:
        """Makes it so. Inside a batch."""
        self._refresh(group)

    # -- inside

    def _refresh_port(self, index: int) -> None:
        hops = [hop for hop in self._ids if hop.port == index]
        for hop in hops:
            self._write_adjacency(self._ids[hop], hop)
        for group in sorted({group for hop in hops for group in self._users.get(hop, ())}):
            self._refresh(group)

    def _refresh(self, group: int, like: int | None = None) -> None:
        plan = self._plan(group, like)
        if plan != self._groups.get(group):
            self._groups[group] = plan
            self.tables.write_group(group, plan)
            self.changed = True

    def _plan(self, group: int, like: int | None) -> Group:
        before = self._groups.get(group)
        example = before if before is not None or like is None else self._groups.get(like)
        previous = example.buckets if example is not None else ()
        return group_plan(self.sets[group], self.topology.alive, self._adjacency, previous)

    def _adjacency(self, hop: Hop) -> int:
        adjacency = self._ids.get(hop)
        if adjacency is None:
            adjacency = self._free.pop() if self._free else self._next
            self._next = max(self._next, adjacency + 1)
            self._ids[hop] = adjacency
            self._write_adjacency(adjacency, hop)
        elif self._adjacencies.get(adjacency) is None:
            self._write_adjacency(adjacency, hop)
        return adjacency

    def _write_adjacency(self, adjacency: int, hop: Hop) -> bool:
        port = self.topology.ports.get(hop.port)
        record = adjacency_record(hop, port, self.neighbours.get(hop))
        if self._adjacencies.get(adjacency) == record:
            return False
        self._adjacencies[adjacency] = record
        self.tables.write_adjacency(adjacency, record)
        self.changed = True
        return True

    def _reserve(self, count: int) -> None:
        room = len(self._free) + lib.FIB_MAX_ADJACENCIES - self._next
        if count > room:
            raise RibcageError(
                "E_ADJACENCIES",
                f"{count} more next hops, room for {room} (limit {lib.FIB_MAX_ADJACENCIES - 1})",
                "delete routes whose next hops are no longer needed",
                Exit.NO,
            )

    def _unuse(self, group: int, hops: Iterable[Hop]) -> None:
        for hop in hops:
            users = self._users.get(hop)
            if users is None:
                continue
            users.discard(group)
            if not users:
                del self._users[hop]
                self._lonely[hop] = self._publishes

    def tidy(self) -> None:
        """Clears adjacencies that have had no user for two publishes. Inside a batch."""
        for hop, since in list(self._lonely.items()):
            if self._publishes >= since + REUSE_AFTER:
                del self._lonely[hop]
                adjacency = self._ids.pop(hop)
                self.tables.clear_adjacency(adjacency)
                del self._adjacencies[adjacency]
                self._retired.append((self._publishes, adjacency))
                self.changed = True
