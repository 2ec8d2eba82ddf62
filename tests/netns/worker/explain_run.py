"""Random packets through a worker, each compared with what `explain` said of it before.

    unshare -Urni python -m tests.netns.worker.explain_run SCENARIO PACKETS SEED     exit 0: none

Packets of one outcome are sent together, so that the counters of a batch belong to each of them:
"128 more of ttl-expired, and nothing else" is said of every one of them. What leaves is captured
on every link and has to be, byte for byte, what was told. Every held packet is let go at once, by
making its neighbour known, and compared again.
"""

import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ribcage.shared.memory.stats import Snapshot
from ribcage.shared.plan import HoldPlan, IcmpPlan, Plan, RingsPlan, WorkersPlan
from tests.netns.worker.explain_lab import ExplainLab
from tests.netns.worker.explain_packets import NO_VNET, Packets
from tests.netns.worker.explain_told import Golden, Told, error_seen, tell

TOGETHER = 128
ERRORS = 32  # that a worker raises in one batch at most (csrc/forward/forward.h)
PATIENCE = 20.0
PLAN = Plan(
    name="explain",
    workers=WorkersPlan(count=1, batch=ERRORS),
    rings=RingsPlan(slots=64),
    icmp=IcmpPlan(rate=1_000_000_000, burst=1_000_000_000, per_source=1_000_000_000),
    hold=HoldPlan(packets=4096, per_neighbour=4096, timeout=600.0),
)
SAID = ("forwarded", "delivered", "held", "icmp_sent", "icmp_limited", "icmp_lost", "gso")


def moved(before: Snapshot, after: Snapshot) -> Counter[str]:
    """What was counted meanwhile; only what changed."""
    counted: Counter[str] = Counter()
    for name in SAID:
        counted[name] = getattr(after, name) - getattr(before, name)
    for reason, count in after.drops.items():
        counted[reason] = count - before.drops[reason]
    return Counter({name: count for name, count in counted.items() if count})


def foretold(packets: Iterable[Told], arriving: bool = True) -> Counter[str]:
    """The same, of what was told; `arriving`: of packets that were not there before."""
    names = {"forward": "forwarded", "deliver": "delivered", "hold": "held"}
    fates = {"sent": "icmp_sent", "lost": "icmp_lost"}
    counted: Counter[str] = Counter()
    for told in packets:
        verdict, reason = told.outcome
        if verdict == "drop":
            counted[reason or "?"] += 1
        elif verdict in names:
            counted[names[verdict]] += 1
        if told.error is not None and told.error.fate in fates:
            counted[fates[told.error.fate]] += 1
        counted["gso"] += arriving and told.vnet != NO_VNET
    return +counted


class Run:
    """One lab, one worker, and the comparisons made with it."""

    def __init__(self, lab: ExplainLab, seed: int) -> None:
        self.lab = lab
        self.names = {port.name: port.index for port in lab.topology.ports.values()}
        own: dict[int, list[str]] = {4: [], 6: []}
        for port in lab.topology.ports.values():
            for address in port.addresses:
                own[address.version].append(str(address.ip))
        self.packets = Packets(random.Random(seed), lab.fib.prefixes, own)
        self.golden = Golden(lab.fib.prefixes)
        self.views = {index: lab.view(index) for index in lab.wires}
        self.met: Counter[str] = Counter()
        self.prefixes: set[str] = set()

    def make(self, n: int) -> list[Told]:
        """n random packets over every port, with what is told of each."""
        found = []
        for i in range(n):
            index = list(self.views)[i % len(self.views)]
            port = self.lab.topology.ports[index]
            told = tell(self.views[index], port, *self.packets.frame(port.mac))
            if told.prefix is not None:
                assert told.prefix == self.golden.match(told.frame), told
                self.prefixes.add(told.prefix)
            found.append(told)
        return found

    def send(self, packets: Sequence[Told]) -> Snapshot:
        """Sends them out of their ports' far ends and waits until the worker has counted them;
        the counters as they were before."""
        before = self.lab.snapshot()
        entering = 0
        for told in packets:
            self.lab.wires[told.ingress.index].out.send(told.vnet + told.frame)
            entering += told.outcome[0] != "ignore"
        self.counted(before.rx + entering)
        return before

    def counted(self, rx: int) -> None:
        end = time.monotonic() + PATIENCE
        while self.lab.snapshot().rx < rx:
            assert time.monotonic() < end, f"rx {self.lab.snapshot().rx}, not {rx}"
            time.sleep(0.0003)

    def left(self, expected: Sequence[tuple[str, object]], limited: bool = False) -> None:
        """What came out of every port is this, and nothing else; `limited`: but for ICMP errors."""
        missing: dict[str, Counter[object]] = defaultdict(Counter)
        for name, what in expected:
            missing[name][what] += 1
        end = time.monotonic() + PATIENCE
        while True:
            for name, index in self.names.items():
                for frame in self.lab.wires[index].take():
                    self._strike(missing[name], name, frame)
            if not any(not limited or isinstance(w, bytes) for m in missing.values() for w in m):
                return
            assert time.monotonic() < end, f"never left: {missing}"
            time.sleep(0.0003)

    @staticmethod
    def _strike(missing: Counter[object], name: str, frame: bytes) -> None:
        what: object = frame
        if what not in missing:
            what = error_seen(frame)
        assert what in missing, f"{name} sent what was not told: {frame.hex()}"
        missing[what] -= 1
        if not missing[what]:
            del missing[what]

    def compare(self, packets: Sequence[Told]) -> None:
        """Sends and compares; then lets go what waits for a neighbour, and compares that."""
        before = self.send(packets)
        assert moved(before, self.lab.snapshot()) == foretold(packets), self.shown(packets)
        self.left(outgoing(packets))
        waiting = [told for told in packets if told.outcome[0] == "hold"]
        errors = [told for told in packets if told.error is not None and told.error.fate == "held"]
        if waiting or errors:
            self.let_go(waiting, errors)
        for told in packets:
            self.met[told.outcome[1] or told.outcome[0]] += 1
            if told.error is not None:
                self.met[f"icmp {told.error.fate}"] += 1

    def let_go(self, waiting: Sequence[Told], errors: Sequence[Told]) -> None:
        before = self.lab.snapshot()
        self.lab.fib.neighbours(known=True)
        again = [self.told_again(told) for told in waiting]
        free = [self.told_again(told).error for told in errors]
        counts = foretold(again, arriving=False)
        counts["held"] -= len(waiting)
        for error in free:
            assert error is not None and error.fate == "sent", error
            counts["icmp_sent"] += 1
        self.lab.ring_bell()
        end = time.monotonic() + PATIENCE
        want = Counter({name: count for name, count in counts.items() if count})
        while moved(before, self.lab.snapshot()) != want:
            assert time.monotonic() < end, (moved(before, self.lab.snapshot()), want)
            time.sleep(0.0003)
        self.left([*outgoing(again), *((e.port, e.seen_as()) for e in free if e is not None)])
        self.lab.fib.neighbours(known=False)

    def told_again(self, told: Told) -> Told:
        return tell(self.views[told.ingress.index], told.ingress, told.vnet, told.frame)

    def shown(self, packets: Sequence[Told]) -> str:
        lines = [f"{told.ingress.name} {told.outcome} {told.frame.hex()}" for told in packets[:8]]
        return "\n".join([f"told {foretold(packets)}", *lines])


def outgoing(packets: Iterable[Told]) -> list[tuple[str, object]]:
    """(port name, frame or the form of an ICMP error) of everything that leaves at once."""
    found: list[tuple[str, object]] = []
    for told in packets:
        if told.sent is not None:
            found.append(told.sent)
        if told.error is not None and told.error.fate == "sent":
            found.append((told.error.port, told.error.seen_as()))
    return found


def waits_for_nobody(told: Told) -> bool:
    return told.outcome[0] != "hold" and (told.error is None or told.error.fate != "held")


def batches(packets: Iterable[Told]) -> Iterable[list[Told]]:
    """Packets of one port and outcome together; those that may wait, as many as one look at the
    hold queue may raise errors for."""
    open_ones: dict[object, list[Told]] = defaultdict(list)
    for told in packets:
        key = (told.ingress.index, told.outcome)
        open_ones[key].append(told)
        if len(open_ones[key]) == (ERRORS if told.outcome[0] == "hold" else TOGETHER):
            yield open_ones.pop(key)
    yield from open_ones.values()


def every_packet_does_what_was_told(packets: int, seed: int) -> None:
    """One outcome a batch, so that counters tell of each packet."""
    with ExplainLab(PLAN, seed) as lab:
        lab.start()
        run = Run(lab, seed)
        for batch in batches(run.make(packets)):
            run.compare(batch)
        assert lab.snapshot().balanced
        assert lab.fib.told() <= run.prefixes, lab.fib.told() - run.prefixes
        print(" ".join(f"{name}={count}" for name, count in sorted(run.met.items())))


def mixed_batches_do_what_was_told(packets: int, seed: int) -> None:
    """All outcomes and ports together: one batch of a worker holds some of each."""
    with ExplainLab(PLAN, seed) as lab:
        lab.start()
        run = Run(lab, seed)
        told = run.make(packets)
        for at in range(0, packets, ERRORS):
            run.compare(told[at : at + ERRORS])
        assert lab.snapshot().balanced


def limited_errors_are_all_that_is_missing(packets: int, seed: int) -> None:
    """With the default limits: errors sent or held and errors limited are as many as were told,
    and everything else is exact."""
    with ExplainLab(replace(PLAN, icmp=IcmpPlan()), seed) as lab:
        lab.start()
        run = Run(lab, seed)
        told = [one for one in run.make(packets) if waits_for_nobody(one)]
        seen, want = Counter[str](), foretold(told)
        for at in range(0, len(told), ERRORS):
            seen += moved(run.send(told[at : at + ERRORS]), lab.snapshot())
            run.left(outgoing(told[at : at + ERRORS]), limited=True)
        errors = ("icmp_sent", "icmp_lost")
        assert seen["icmp_limited"] > seen["icmp_sent"] > 0
        assert sum(want.pop(name) for name in errors) == seen.pop("icmp_limited") + sum(
            seen.pop(name) for name in errors
        )
        assert seen == want


if __name__ == "__main__":
    scenario, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    {
        "each": every_packet_does_what_was_told,
        "mixed": mixed_batches_do_what_was_told,
        "limited": limited_errors_are_all_that_is_missing,
    }[scenario](count, number)
