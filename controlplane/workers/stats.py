"""Reports of the workers' counters, for `stats` and `drops`. Reads stats objects only."""

from typing import Any

from ribcage.controlplane.values.topology import Topology
from ribcage.controlplane.workers.workers import Workers, WorkerSlot
from ribcage.shared.memory.stats import REASONS, TOTALS, Snapshot

PORT = ("rx", "rx_bytes", "tx", "tx_bytes", "ring_drops")


def snapshots(workers: Workers) -> list[tuple[WorkerSlot, Snapshot]]:
    """One committed state a worker, those that a reload gave up last; who cannot be read is left
    out. A total is the sum of all, so that it never goes backwards."""
    found = []
    for worker in workers.counted():
        snapshot = worker.snapshot()
        if snapshot is not None:
            found.append((worker, snapshot))
    return found


def uncounted(workers: Workers) -> list[dict[str, Any]]:
    """Workers that do no work just now. What lies in their rings, or found no room there, is
    counted by nobody yet: the sums are true of what was counted, and not of all that came."""
    found = [(worker.index, worker.trouble()) for worker in workers.watches()]
    return [{"worker": index, "state": state} for index, state in found if state is not None]


def stats_report(workers: Workers, topology: Topology) -> dict[str, Any]:
    """{workers, totals, balanced, uncounted, ports}; the sums are of the same snapshots that are
    shown."""
    taken, trouble = snapshots(workers), uncounted(workers)
    rows = []
    for worker, snapshot in taken:
        if worker.stats is None or worker.index in workers.resting:
            continue
        life, seen = worker.stats.life(), worker.stats.seen()
        rows.append(
            {
                "worker": worker.index,
                "pid": life.pid,
                "state": life.state if worker.state == "ready" else worker.state,
                "generation": seen.generation,
                "read_retries": seen.read_retries,
                "events_sent": life.events_sent,
                "events_lost": life.events_lost,
                "visible_ns": worker.stats.histogram(),
                **snapshot.to_json(),
                "odd": worker.look().odd or None,
            }
        )
    totals: dict[str, Any] = {
        name: sum(getattr(snapshot, name) for _, snapshot in taken) for name in TOTALS
    }
    totals["drops"] = {
        reason: total
        for reason in REASONS.values()
        if (total := sum(snapshot.drops.get(reason, 0) for _, snapshot in taken))
    }
    totals["dropped"] = sum(totals["drops"].values())
    return {
        "workers": rows,
        "totals": totals,
        "balanced": all(snapshot.balanced for _, snapshot in taken)
        and not trouble
        and not any(row["odd"] for row in rows),
        "uncounted": trouble,
        "ports": _ports(taken, topology),
    }


def _ports(taken: list[tuple[WorkerSlot, Snapshot]], topology: Topology) -> list[dict[str, Any]]:
    indices = set(topology.ports)
    for _, snapshot in taken:
        indices |= set(snapshot.ports)
    rows = []
    for index in sorted(indices):
        counters = [s.ports[index] for _, s in taken if index in s.ports]
        port = topology.ports.get(index)
        row: dict[str, Any] = {
            "index": index,
            "name": topology.name_of(index),
            "up": port.up if port is not None else False,
            "kind": port.kind if port is not None else "gone",
        }
        row |= {name: sum(getattr(one, name) for one in counters) for name in PORT}
        rows.append(row)
    return rows


def drops_report(workers: Workers, topology: Topology) -> dict[str, Any]:
    """{reasons: [{reason, total, per_worker, example}], balance, set_aside}; reasons that
    happened, and the frames that ended a worker twice."""
    taken = snapshots(workers)
    gone = sum(worker.index in workers.resting for worker, _ in taken)
    reasons: list[dict[str, Any]] = []
    for reason in REASONS.values():
        counts = [snapshot.drops.get(reason, 0) for _, snapshot in taken]
        per_worker = counts[: len(counts) - gone]
        if sum(counts):
            reasons.append(
                {
                    "reason": reason,
                    "total": sum(counts),
                    "per_worker": per_worker,
                    "example": _example(taken, reason, topology),
                }
            )
    sums = {
        name: sum(getattr(snapshot, name) for _, snapshot in taken)
        for name in ("rx", "forwarded", "delivered", "held")
    }
    dropped = sum(int(one["total"]) for one in reasons)
    accounted = sums["forwarded"] + sums["delivered"] + sums["held"] + dropped
    trouble = uncounted(workers)
    good = sums["rx"] == accounted and not trouble
    return {
        "reasons": reasons,
        "balance": {**sums, "dropped": dropped, "balanced": good, "uncounted": trouble},
        "set_aside": [
            {
                "worker": worker.index,
                "port": topology.name_of(frame.port),
                "mono_ns": frame.mono_ns,
                "length": frame.length,
                "bytes": frame.data.hex(),
            }
            for worker, snapshot in taken
            if worker.stats is not None
            for frame in worker.stats.set_aside(snapshot.drops.get("set-aside", 0))
        ],
    }


def _example(
    taken: list[tuple[WorkerSlot, Snapshot]], reason: str, topology: Topology
) -> dict[str, Any] | None:
    """The newest of the workers' last packets dropped for this reason."""
    newest = None
    for worker, _ in taken:
        example = worker.stats.example(reason) if worker.stats is not None else None
        if example is not None and (newest is None or example.mono_ns > newest.mono_ns):
            newest = example
    if newest is None:
        return None
    return {
        "source": str(newest.source),
        "target": str(newest.target),
        "protocol": newest.protocol,
        "port": topology.name_of(newest.port),
        "mono_ns": newest.mono_ns,
    }
