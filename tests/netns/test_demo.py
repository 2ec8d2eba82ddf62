"""Every step of the demo as a test of its own, over a smaller table; then the orderly stop."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.lab.demo.demo import CONFIG
from ribcage.lab.demo.steps import STEPS, Demo, Step, leftovers, stop
from ribcage.lab.tables import synthetic
from ribcage.lab.topology.guarded import GuardedRouter
from ribcage.lab.topology.namespaces import Lab, available
from ribcage.lab.topology.topologies import demo as demo_topology

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo's lab with its router running and a table of 20,000 routes at hand."""
    folder: Path = tmp_path_factory.mktemp("demo")
    table = synthetic(4, 20_000)
    table_file = folder / "table.txt"
    table_file.write_text("\n".join(table.lines) + "\n")
    with Lab() as lab:
        demo_topology(lab)
        router = GuardedRouter(lab.nodes["r1"], CONFIG, "demotest", folder, folder / "run")
        before = leftovers(router)
        router.start()
        built = Demo(lab, router, table, table_file, before)
        with contextlib.ExitStack() as stack:
            stack.callback(router.kill_all)
            yield built


ALL = [*STEPS, ("stop leaves nothing", stop)]


@pytest.mark.parametrize(("name", "step"), ALL, ids=[name for name, _ in ALL])
def test_demo_step_holds(demo: Demo, name: str, step: Step) -> None:
    """What the demo promises holds; the step itself raises StepFailed with what it saw."""
    text, _ = step(demo)
    assert text, name
