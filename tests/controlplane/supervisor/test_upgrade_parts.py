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
from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.resources import users as users_module
from ribcage.controlplane.supervisor.resources.ports import PortSockets
from ribcage.controlplane.supervisor.resources.store import Store
from ribcage.controlplane.supervisor.resources.users import Users
from ribcage.controlplane.supervisor.upgrade import carry
from ribcage.controlplane.supervisor.upgrade.check import Report
from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.controlplane.supervisor.upgrade.reexec import exec_image
from ribcage.controlplane.supervisor.upgrade.trust import interpreter
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.identity import layouts
from ribcage.shared.process.port_rings import PortRings


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
    (home / "pyvenv.cfg").write_text("home = /usr/bin\n")
    site = home / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    site.chmod(0o777)
    with pytest.raises(RibcageError, match="site-packages is writable by others"):
        interpreter(str(home))
    site.chmod(0o755)
    assert interpreter(str(home))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for named in ("python3", str(tmp_path / "none"), str(loop), "/etc/passwd", "/a\0b"):
        with pytest.raises(RibcageError) as refused:
            interpreter(named)
        assert refused.value.code == "E_UPGRADE"


@pytest.mark.parametrize("target", ["/bin/sh", "/usr/bin/env"])
def test_a_program_that_is_no_python_is_refused(target: str, tmp_path: Path) -> None:
    """Root's it may be: control must not choose what the supervisor becomes, whatever it is
    called by a link."""
    for named in (target, tmp_path / "python3"):
        if named != target:
            (tmp_path / "python3").symlink_to(target)
        with pytest.raises(RibcageError, match="no Python"):
            interpreter(str(named))


def test_the_sockets_of_a_port_cross_with_their_order_and_who_steers() -> None:
    """Worker by worker as they joined, the group's word, the socket that steers, the table."""
    opened: list[int] = []

    def opener(port: PortRings, worker: int, workers: int, fanout: int) -> tuple[int, int]:
        opened.append(os.memfd_create(f"ring-{worker}"))
        return opened[-1], 7

    port = PortRings.from_json(
        {"index": 2, "name": "eth0", "ifindex": 3, "kind": "port", "slots": 16,
         "slot_bytes": 2048}
    )  # fmt: skip
    before = PortSockets(opener, 1 << 30, Store(Manager()))
    before.open(port, 3)
    crossed = Image.parse(image(ports=before.rows(), groups=before.groups()).dumps())
    assert sorted(crossed.descriptors()) == sorted(opened)
    after = PortSockets(opener, 1 << 30, Store(Manager()))
    after.resume(crossed.ports, crossed.groups)
    assert after.rows() == before.rows() and after.groups() == before.groups()
    assert after.in_order(2, 3) and not after.open(port, 3)
    after.close_all()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives users")
def test_claimed_users_stay_claimed_over_an_exec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor that holds the locks crosses; another router gets none of these users."""
    monkeypatch.setattr(users_module, "CLAIMS", tmp_path / "users")
    wanted = (61900, 61907)
    before = Users.claim(wanted, workers=2)
    assert before.why is None
    crossed = image(users={"why": before.why, "fd": before.fd})
    assert before.fd in set(crossed.descriptors())
    # As the kernel has it: the new image's descriptor is the same open file.
    after = Users.resume(wanted, before.why, list(before.ids), os.dup(before.fd))
    os.close(before.fd)
    other = Users.claim(wanted, workers=2)
    assert not set(other.ids) & set(after.ids)
    assert after.worker(1) == before.ids[2] and after.control == before.ids[0]
    other.release()
    after.release()


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
