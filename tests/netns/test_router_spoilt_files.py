"""Files, folders and objects of a router that somebody closed, gave away, or put another thing in
place of: the next control is there all the same, under traffic, and no route is forgotten."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import FLOWS, Rig, config, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]

SOMEBODY = 12345
KEPT = "203.0.113.0/24"


def closed(path: Path) -> None:
    path.chmod(0)


def given_away(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def noise(path: Path) -> None:
    path.write_bytes(bytes(range(128, 256)) * 32)


SPOILT = [closed, given_away, a_folder, a_link, a_pipe, noise]


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Rig]:
    """With a checkpoint, so that control has all the files it may have."""
    text = config("[rib]\ncheckpoint = true\n")
    with rig(tmp_path, text, stop=False) as found:
        found.router.call("route.add", dst=KEPT, nexthops=[{"via": "10.0.2.2"}])
        yield found
        assert found.router.stop() == 0


def next_control_is_there(built: Rig) -> None:
    """Killed under traffic: another is ready, knows the route, and is believed by all."""
    built.standby_ready()
    with Stream(built.h1, built.h2, "10.0.2.2", rate=500, flows=FLOWS) as stream:
        old = built.router.kill("control")
        built.successor("control", 0, old)
        built.standby_ready()
    built.nothing_lost(stream.result)
    assert any(row["dst"] == KEPT for row in built.router.call("route.list")["routes"])
    built.verified()


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_no_file_of_control_keeps_the_next_one_from_starting(
    built: Rig, spoil: Callable[[Path], None]
) -> None:
    """Lock, undo journal and note, all of them spoilt at once."""
    if spoil is given_away and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    names = built.router.names
    for path in (names.control_lock, names.undo_file, names.restored):
        assert path.is_file()
        spoil(path)
    next_control_is_there(built)


@pytest.mark.parametrize("spoil", [closed, given_away, a_folder], ids=lambda spoil: spoil.__name__)
def test_no_object_in_shared_memory_keeps_the_next_control_from_starting(
    built: Rig, spoil: Callable[[Path], None]
) -> None:
    """The FIB, the RIB, the writer's semaphore, one after the other."""
    if spoil is given_away and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    names = built.router.names
    for name in (names.fib, names.rib, f"/sem.{names.writer_semaphore[1:]}"):
        built.r1.call(spoil, Path(f"/dev/shm{name}"))
        next_control_is_there(built)


def test_a_folder_of_the_run_directory_that_is_removed_is_made_again(built: Rig) -> None:
    """Each of them, with what was in it; the command line finds the router again."""
    names = built.router.names
    for folder in names.folders:
        shutil.rmtree(folder)
        wait_for(f"{folder} again", folder.is_dir)
    built.router.wait_ready()
    wait_for("the state file again", names.state_file.exists)
    next_control_is_there(built)


def test_a_folder_of_the_run_directory_that_is_closed_is_opened_again(built: Rig) -> None:
    for folder in built.router.names.folders:
        folder.chmod(0)
    next_control_is_there(built)
