"""kill -9 of control at every instruction that matters to the RIB, and what the successor finds."""

import copy
import mmap
import random
import signal
import struct
import subprocess
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.controlplane.rib.mapping import PrivateMemory, RibParams, anonymous_rib
from ribcage.controlplane.rib.segment import Rib
from tests.csrc.build import RIB, build_c_test

VICTIM = Path(__file__).with_name("rib_victim.c")
PARAMS = RibParams(max_rows=40, max_nexthops=8, max_nodes=24, instance_id=1)
PREFIXES = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24", "2001:db8::/32"]
STEP = struct.Struct("<IIII16sBBBBIII")
APPLY, PUBLISH, MARK_STALE, SWEEP, SET_DEAD, RESELECT, PUT, DELETE = range(8)

Step = tuple[int, int, int, str, int, int, int, int, int]  # operation, argument, value, row...
Key = tuple[str, int, int]  # prefix, source, metric
Value = tuple[int, int, int]  # nexthop, distance, generation


@dataclass
class Model:
    """The table after some steps, its choices, and the FIB as of the last publish among them."""

    rows: dict[Key, Value] = field(default_factory=dict)
    generation: dict[int, int] = field(default_factory=lambda: {2: 0, 3: 0})
    dead: frozenset[int] = frozenset()
    sets: dict[int, int] = field(default_factory=dict)
    selected: dict[str, int] = field(default_factory=dict)
    fib: dict[str, int] = field(default_factory=dict)

    def select(self, prefix: str) -> None:
        self.selected.pop(prefix, None)
        best = best_of(self.rows, self.dead)
        if prefix in best:
            self.selected[prefix] = best[prefix]

    def after(self, step: Step) -> "Model":
        operation, argument, value, prefix, nexthop, source, distance, metric, flags = step
        new = copy.deepcopy(self)
        if operation == APPLY:
            key = (prefix, source, metric)
            for other in [k for k in self.rows if k[:2] == key[:2]]:
                if flags & lib.ROW_ONLY and (other != key or nexthop == 0):
                    del new.rows[other]
            if nexthop:
                new.rows[key] = (nexthop, distance, self.generation[source])
            else:
                new.rows.pop(key, None)
            if {k: v[:2] for k, v in new.rows.items()} != {k: v[:2] for k, v in self.rows.items()}:
                new.select(prefix)
        elif operation == PUBLISH:
            new.fib = dict(self.selected)
        elif operation == MARK_STALE:
            new.generation[argument] += 1
        elif operation == SWEEP:
            for key, kept in self.rows.items():
                if key[1] == argument and kept[2] != self.generation[argument]:
                    del new.rows[key]
                    new.select(key[0])
        elif operation == RESELECT:
            new.selected = best_of(self.rows, self.dead)
        elif operation == SET_DEAD:
            new.dead = self.dead | {argument} if value else self.dead - {argument}
        elif operation == PUT:
            new.sets[argument] = value
        elif operation == DELETE:
            del new.sets[argument]
        return new


def best_of(rows: dict[Key, Value], dead: frozenset[int]) -> dict[str, int]:
    ranked: dict[str, tuple[int, int, int, int]] = {}
    for (prefix, source, metric), (nexthop, distance, _) in rows.items():
        if nexthop not in dead:
            rank = (distance, metric, source, nexthop)
            ranked[prefix] = min(ranked.get(prefix, rank), rank)
    return {prefix: rank[3] for prefix, rank in ranked.items()}


def some_steps(seed: int, count: int) -> list[Step]:
    """Sets first, then a mixture in which RESELECT follows SET_DEAD sooner or later."""
    rng = random.Random(seed)
    nothing = ("10.0.0.0/8", 0, 2, 0, 0, 0)
    steps: list[Step] = [(PUT, i, i, *nothing) for i in range(1, 5)]
    for _ in range(count):
        operation = rng.choices(
            [APPLY, PUBLISH, MARK_STALE, SWEEP, SET_DEAD, RESELECT, PUT],
            [60, 10, 4, 5, 8, 8, 5],
        )[0]
        if operation == APPLY:
            flags = rng.choice([0, 0, 0, lib.ROW_ONLY])
            nexthop = rng.choice([0, 1, 2, 3, 4])
            source, metric = rng.choice([2, 3]), rng.choice([0, 0, 5])
            row = (rng.choice(PREFIXES), nexthop, source, rng.choice([1, 9]), metric, flags)
            steps.append((APPLY, 0, 0, *row))
        elif operation in (MARK_STALE, SWEEP):
            steps.append((operation, rng.choice([2, 3]), 0, *nothing))
        elif operation == SET_DEAD:
            steps.append((SET_DEAD, rng.randint(1, 4), rng.randint(0, 1), *nothing))
        elif operation == PUT:
            steps.append((PUT, rng.randint(1, 4), rng.randint(1, 200), *nothing))
        else:
            steps.append((operation, 0, 0, *nothing))
    return [*steps, (RESELECT, 0, 0, *nothing), (PUT, 6, 6, *nothing), (DELETE, 6, 0, *nothing)]


def encode(step: Step) -> bytes:
    operation, argument, value, prefix, nexthop, source, distance, metric, flags = step
    network = ip_network(prefix)
    packed = network.network_address.packed.ljust(16, b"\0")
    return STEP.pack(
        *(operation, argument, value, 0, packed, network.prefixlen, network.version),
        *(source, distance, metric, nexthop, flags),
    )


class Scene:
    """The victim's files; `reset` is the table before the first step."""

    def __init__(self, folder: Path, victim: Path, steps: list[Step]) -> None:
        self.victim, self.steps = victim, steps
        self.segment, self.script, self.acked_file = (
            folder / name for name in ("segment", "steps", "acked")
        )
        fresh = anonymous_rib(PARAMS)
        self.empty = bytes(ffi.buffer(fresh.address))
        fresh.close()
        self.script.write_bytes(b"".join(map(encode, steps)))
        self.models = [Model()]
        for step in steps:
            self.models.append(self.models[-1].after(step))

    def reset(self) -> None:
        self.segment.write_bytes(self.empty)
        self.acked_file.write_bytes(bytes(8))

    def run(self, stop: int, start: int = 0) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.victim, self.segment, self.script, self.acked_file, str(start), str(stop)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def acked(self) -> int:
        return int.from_bytes(self.acked_file.read_bytes(), "little")

    def successor(self) -> Rib:
        with self.segment.open("r+b") as file:
            return Rib(PrivateMemory(mmap.mmap(file.fileno(), 0)), False)


def rows_of(rib: Rib) -> dict[Key, Value]:
    listed, cursor = rib.walk(None, 500)
    assert cursor is None
    return {
        (str(r.prefix), r.source, r.metric): (r.nexthop, r.distance, r.generation) for r in listed
    }


def check_successor(scene: Scene, rib: Rib, acked: int) -> None:
    """Nothing acknowledged is lost, nothing unheard of appears, and the FIB catches up."""
    before, after = scene.models[acked], scene.models[min(acked + 1, len(scene.steps))]
    rows = rows_of(rib)
    for key in before.rows.keys() & after.rows.keys():
        if before.rows[key] == after.rows[key]:
            assert rows.get(key) == before.rows[key]
    for key, value in rows.items():
        assert value in (before.rows.get(key), after.rows.get(key))
    dead = frozenset(filter(rib.nexthop_dead, rib.nexthops()))
    assert dead in (before.dead, after.dead)
    sets = {i: found.paths for i in rib.nexthops() if (found := rib.nexthop(i))}
    gateways = {i: int(paths[0].hop.gateway or 0) & 0xFF for i, paths in sets.items()}
    assert gateways in (before.sets, after.sets)
    assert all(len(paths) == 2 for paths in sets.values())

    # The successor's duty: publish what is pending, then select again what liveness left open.
    # (a publish in progress has stored its FIB before it tells the RIB)
    publishing = acked < len(scene.steps) and scene.steps[acked][0] == PUBLISH
    fib = after.fib if publishing else before.fib
    room = ffi.new("struct route_row[]", 64)
    count, _ = rib.pending(room, 64)
    changes = [(room[i].nexthop, rib_prefix(room[i])) for i in range(count)]
    if rib.recovery.reselect:
        step = rib.reselect(room, 64)
        assert not step.more
        changes += [(room[i].nexthop, rib_prefix(room[i])) for i in range(step.changes)]
        assert fib_after(fib, changes) == best_of(rows, dead)
    selected = {str(r.prefix): r.nexthop for r in rib.walk(None, 500)[0] if r.selected}
    assert fib_after(fib, changes) == selected
    if not rib.recovery.reselect:
        assert selected in (before.selected, after.selected, best_of(rows, dead))
    rib.published(rib.changed())


def fib_after(fib: dict[str, int], changes: list[tuple[int, str]]) -> dict[str, int]:
    result = dict(fib)
    for nexthop, prefix in changes:
        result[prefix] = nexthop
    return {prefix: nexthop for prefix, nexthop in result.items() if nexthop}


def rib_prefix(row: object) -> str:
    from ribcage.shared.memory.fields import prefix_of

    return str(prefix_of(row))


@pytest.fixture(scope="module")
def victim() -> Path:
    return build_c_test(str(VICTIM), RIB, flags=("-DRC_FAULT_POINTS",))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_control_killed_anywhere_loses_no_acknowledged_route(
    seed: int, victim: Path, tmp_path: Path
) -> None:
    """For every fault point passed: what was acknowledged is there, the interrupted operation is
    whole or absent, the FIB catches up from the journal, and the successor can finish."""
    scene = Scene(tmp_path, victim, some_steps(seed, 50))
    scene.reset()
    finished = scene.run(0)
    assert finished.returncode == 0
    points = int(finished.stdout)
    assert points > 100
    rib = scene.successor()
    assert rows_of(rib) == scene.models[-1].rows
    final = rows_of(rib)
    rib.close()
    for point in range(1, points + 1):
        scene.reset()
        assert scene.run(point).returncode == -signal.SIGKILL
        acked = scene.acked()
        assert acked < len(scene.steps)
        rib = scene.successor()
        check_successor(scene, rib, acked)
        rib.close()
        if point % 5 == 0:  # the rest of the work, from the interrupted step on
            assert scene.run(0, acked).returncode == 0
            rib = scene.successor()
            if scene.steps[acked][0] != MARK_STALE:  # done twice it counts twice
                assert rows_of(rib) == final
            rib.close()
