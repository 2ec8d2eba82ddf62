"""What crosses an exec, whose program it may be, and what two builds read of each other."""

import json
import os
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ribcage.controlplane.supervisor.children.backoff import Backoff
from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.upgrade import carry
from ribcage.controlplane.supervisor.upgrade.check import Report
from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.controlplane.supervisor.upgrade.reexec import exec_image
from ribcage.controlplane.supervisor.upgrade.trust import interpreter
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.identity import layouts


def image(**more: object) -> Image:
    found = Image(build="b1", python="/usr/bin/python3", names={}, settings="{}", state={})
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_an_image_comes_back_as_it_was() -> None:
    """Through the memfd; it cannot be changed on the way."""
    ring, _ = os.pipe()
    before = image(ports=[{"port": {}, "worker": 1, "fd": ring}], bells={"0": [ring, ring]})
    fd = before.seal()
    assert Image.load(fd) == before
    with pytest.raises(OSError):
        os.pwrite(fd, b"x", 0)


def test_what_a_newer_build_adds_is_left_out_and_what_it_lacks_has_its_default() -> None:
    """As long as the schema is the same."""
    body = json.loads(image().dumps())
    body["of_tomorrow"] = {"a": 1}
    del body["story"]
    assert Image.parse(json.dumps(body).encode()) == image()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{}", b'{"schema": 99}', b"\xff", b"[" * 100_000,
        b'{"schema": 1}',
        image(fds={"lock": 1}).dumps(),  # standard output
        image(fds={"lock": "3"}).dumps(),
        image(children=[{"pidfd": -1}]).dumps(),
        image(ports=[{}]).dumps(),
        image(fib={}).dumps(),
        image(children=7).dumps(),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_by_name(raw: bytes) -> None:
    """E_IMAGE, never another exception: it is read before anything is done."""
    with pytest.raises(RibcageError) as refused:
        Image.parse(raw)
    assert refused.value.code == "E_IMAGE"


def test_an_exec_that_fails_leaves_no_descriptor_open_to_children() -> None:
    """During the call exactly those of the image are inheritable, afterwards none."""
    ring, other = os.pipe()
    seen: dict[str, bool] = {}

    def execv(path: str, argv: list[str]) -> None:
        seen["ring"], seen["other"] = os.get_inheritable(ring), os.get_inheritable(other)
        seen["image"] = Image.load(int(argv[-1])) == crossing
        raise OSError(2, "no such file")

    crossing = image(bells={"0": [ring, ring]})
    with pytest.raises(OSError):
        exec_image("/nowhere", crossing, execv)
    assert seen == {"ring": True, "other": False, "image": True}
    assert not os.get_inheritable(ring)


@dataclass
class Later:
    """A slot as a later build might have it."""

    state: str = "absent"
    of_tomorrow: list[int] = field(default_factory=lambda: [7])
    restarts: int = 0
    has_ports: set[int] = field(default_factory=set)


def test_a_slot_is_carried_value_by_value() -> None:
    """Plain values cross in their kind, also to a build with other fields; handles do not."""
    child = Child("worker", 1, Backoff(5, 60.0))
    child.state, child.restarts, child.has_ports = "ready", 3, {0, 2}
    child.last_exit = "exited 9"
    values = json.loads(json.dumps(carry.values_of(child)))
    assert not {"channel", "timer", "pidfd", "backoff", "successor"} & values.keys()
    again = Child("worker", 1, Backoff(5, 60.0))
    carry.set_values(again, values)
    assert (again.state, again.restarts, again.has_ports) == ("ready", 3, {0, 2})
    later = Later()
    carry.set_values(later, values)
    assert later == Later("ready", [7], 3, {0, 2})
    history = Backoff(5, 60.0)
    history.died(10.0, 0.0)
    fresh = Backoff(5, 60.0)
    carry.set_values(fresh, json.loads(json.dumps(carry.values_of(history))))
    assert fresh == history
    assert any(isinstance(getattr(fresh, name), deque) for name in fresh.__slots__)


def test_a_build_is_taken_by_its_environment_or_its_interpreter(tmp_path: Path) -> None:
    """Through links, too; a folder that others may write anywhere on the way is refused."""
    home = tmp_path / "build"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    assert interpreter(str(home)) == interpreter(str(home / "bin" / "python3"))
    link = tmp_path / "current"
    link.symlink_to(home)
    assert interpreter(str(link)).startswith(str(link))
    (home / "bin").chmod(0o775)
    for named in (home, link):
        with pytest.raises(RibcageError, match="bin is writable by others"):
            interpreter(str(named))
    (home / "bin").chmod(0o755)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for named in ("python3", str(tmp_path / "none"), str(loop), "/etc/passwd", "/a\0b"):
        with pytest.raises(RibcageError) as refused:
            interpreter(named)
        assert refused.value.code == "E_UPGRADE"


def test_a_layout_that_holds_what_is_nowhere_else_is_refused_with_both_sides() -> None:
    """A RIB of another layout is refused; a FIB of another layout is made again."""
    mine = layouts()
    assert Report("b", "1", "/", mine).other_layouts({"rib"}) == []
    assert Report("b", "1", "/", {**mine, "fib": "0x1"}).other_layouts({"rib"}) == ["fib"]
    with pytest.raises(RibcageError, match=f"rib 0x1, running {mine['rib']}"):
        Report("b", "1", "/", {**mine, "rib": "0x1"}).other_layouts({"rib"})


@pytest.mark.parametrize("out", [b"", b"[]", b"{}", b'{"build": "b"}', b"\xff", b"null"])
def test_what_is_no_report_is_refused(out: bytes) -> None:
    """The check child may print anything."""
    with pytest.raises(RibcageError) as refused:
        Report.read(out)
    assert refused.value.code == "E_UPGRADE"
