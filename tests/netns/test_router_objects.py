"""Whose objects are whose: foreign segments, second starts, several instances, missing rights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ribcage.shared._core import ffi, lib

from ribcage.lab.probe.traffic import Stream, probe
from ribcage.lab.topology.namespaces import Node, available
from ribcage.lab.topology.router import Router
from ribcage.shared.memory.identity import SegmentKind
from tests.netns.router_rig import (
    FLOWS,
    Rig,
    config,
    lab_and_router,
    rig,
    stopped,
)

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


def run_router(
    node: Node, router: Router, *before: str, instance: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`ribcage run` that is expected to refuse: its exit status and words."""
    path = router.folder / "refused.toml"
    path.write_text(router.config)
    command = [*before, sys.executable, "-m", "ribcage", "-i", instance or router.instance]
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(router.run_base)}
    return node.run([*command, "run", "-c", str(path)], env=env, timeout=30)


def make_foreign(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def shm(node: Node) -> set[str]:
    return set(node.run(["ls", "/dev/shm"]).stdout.split())


def foreign_layout() -> bytes:
    """A whole identity line, and another layout behind it: what another build would leave."""
    line = ffi.new("struct segment_identity *")
    expect = ffi.new("struct segment_expect *")
    assert lib.segment_expected(lib.segment_format(SegmentKind.FIB), expect) == 0
    line.magic, line.kind, line.major = expect.magic, expect.kind, expect.major
    line.layout_id = expect.layout_id ^ 0xFFFF
    line.header_size = expect.header_size
    line.segment_size = 8192
    return bytes(ffi.buffer(line)).ljust(8192, b"\xa5")


@pytest.mark.parametrize("which", ["fib", "rib"])
def test_a_segment_of_another_layout_is_refused_and_left_alone(tmp_path: Path, which: str) -> None:
    """Both sides are shown, exit 7, the object untouched, nothing else left behind."""
    with lab_and_router(tmp_path, config()) as built:
        name = f"/dev/shm/ribcage.rt.{which}"
        content = foreign_layout()
        built.r1.call(make_foreign, name, content)
        done = run_router(built.r1, built.router)
        assert done.returncode == 7, done.stderr
        assert "layout" in done.stderr and "this build" in done.stderr, done.stderr
        assert f"ribcage.rt.{which}" in done.stderr
        assert built.r1.call(Path(name).read_bytes) == content
        assert shm(built.r1) == {f"ribcage.rt.{which}"}
        built.r1.run(["rm", name], check=True)
        built.router.start()
        built.echo()
        stopped(built)


def test_an_object_of_this_name_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """A semaphore that another run directory made: refused with exit 8 and what to do."""
    with lab_and_router(tmp_path, config()) as built:
        built.r1.call(make_foreign, "/dev/shm/sem.ribcage.rt.writer", bytes(32))
        done = run_router(built.r1, built.router)
        assert done.returncode == 8, done.stderr
        assert "RIBCAGE_RUN_DIR" in done.stderr
        assert shm(built.r1) == {"sem.ribcage.rt.writer"}
        assert list(built.router.names.run_dir.rglob("*.sock")) == []


def test_a_second_start_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """Exit 8 with the pid of the one that runs; not a packet is lost by the attempt."""
    with rig(tmp_path) as built:
        pids = {row["pid"] for row in built.router.processes()}
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            done = run_router(built.r1, built.router)
        assert done.returncode == 8
        assert f"already running, pid {built.router.pid('supervisor')}" in done.stderr
        built.nothing_lost(stream.result)
        assert pids <= {row["pid"] for row in built.router.processes()}


@pytest.mark.parametrize("missing", ["net_raw", "net_admin"])
def test_a_missing_right_is_named_with_what_to_do(tmp_path: Path, missing: str) -> None:
    """Exit 5 at once, the capability by name, a hint, and nothing left behind."""
    with lab_and_router(tmp_path, config()) as built:
        drop = ["setpriv", f"--bounding-set=-{missing}", f"--inh-caps=-{missing}"]
        done = run_router(built.r1, built.router, *drop)
        assert done.returncode == 5, (done.returncode, done.stderr)
        assert f"CAP_{missing.upper()}" in done.stderr
        assert "unshare -rn" in done.stderr
        assert shm(built.r1) == set()


def test_two_labs_at_once_do_not_meet(tmp_path: Path) -> None:
    """The same instance name in two labs: one is stopped, the other loses nothing."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with rig(tmp_path / "a") as one, rig(tmp_path / "b", stop=False) as two:
        with Stream(one.h1, one.h2, "10.0.2.2", flows=FLOWS) as stream:
            two.echo()
            stopped(two)
            stream.carried(0.2)
        one.nothing_lost(stream.result)
        assert "ribcage.rt.fib" in shm(one.r1)
        one.balanced()


SECOND = """
[[interface]]
name = "eth3"
address = ["10.0.8.1/24"]

[[interface]]
name = "eth4"
address = ["10.0.9.1/24"]
"""


def second_router(built: Rig) -> Router:
    """Another instance in the same node, between two links of its own."""
    built.lab.node("a8")
    built.lab.node("b9")
    built.lab.link("a8", "eth0", "r1", "eth3")
    built.lab.link("r1", "eth4", "b9", "eth0")
    for node, host, gate in (("a8", "10.0.8.2", "10.0.8.1"), ("b9", "10.0.9.2", "10.0.9.1")):
        built.lab.nodes[node].ip(f"addr add {host}/24 dev eth0", f"route add default via {gate}")
    text = config(interfaces=SECOND, routes="")
    return Router(built.r1, text, "other", built.router.folder, built.router.run_base)


def test_two_instances_in_one_namespace_leave_each_other_alone(tmp_path: Path) -> None:
    """Each forwards between its own ports; the end of one costs the other nothing and removes
    no object of the other."""
    with rig(tmp_path, stop=False) as built:
        other = second_router(built)
        carried = built.received()
        try:
            with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
                built.both_carry(carried)
                other.start()
                seen = probe(built.lab.nodes["a8"], "echo", "10.0.9.2", "--count", "3")
                assert not seen["lost"], seen
                theirs = {name for name in shm(built.r1) if "ribcage.other." in name}
                ours = {name for name in shm(built.r1) if "ribcage.rt." in name}
                assert len(theirs) == len(ours) == 3  # fib, rib, semaphore
                assert other.stop() == 0
                stream.carried(0.2)
            built.nothing_lost(stream.result)
            assert shm(built.r1) == ours
            built.echo()
            # r1's own answer to n2 needs the host port, which each instance has for itself.
            seen = probe(built.lab.nodes["n2"], "echo", "10.0.1.1", "--count", "2")
            assert not seen["lost"], seen
            built.balanced()
            assert built.router.stop() == 0
            assert shm(built.r1) == set()
        finally:
            other.kill_all()
