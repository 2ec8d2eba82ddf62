"""Names: what an instance may be called, and where its things are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ribcage.shared.errors import RibcageError
from ribcage.shared.process.names import Names


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "a/b", "a b", "é", "a" * 33, "a\n", "a\0"])
def test_a_name_that_could_leave_the_run_directory_is_refused(name: str) -> None:
    """Allow-list, because the name becomes part of paths and object names."""
    with pytest.raises(RibcageError) as info:
        Names(name, Path("/run/ribcage"))
    assert (info.value.code, info.value.exit_code) == ("E_INSTANCE", 2)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", fullmatch=True))
def test_every_object_carries_the_instance(name: str) -> None:
    """Two instances never share a name; paths stay inside the run directory."""
    names = Names(name, Path("/run/ribcage"))
    assert {folder.parent for folder in names.folders} == {Path("/run/ribcage") / name}
    assert {names.control_socket.parent, names.control_lock.parent, names.state_file.parent,
            names.supervisor_socket.parent} == set(names.folders)  # fmt: skip
    for shared in (names.fib, names.rib, names.writer_semaphore):
        assert shared.startswith(f"/ribcage.{name}.")
        assert shared.count("/") == 1
    assert names.stats(3) == f"ribcage.{name}.stats.3"  # of a memfd: no path
    assert Names.from_json(names.to_json()) == names


@pytest.mark.parametrize(
    "body", [None, 3, {}, {"instance": "r1"}, {"instance": "r1", "run_base": "x"}]
)
def test_names_from_a_peer_are_checked(body: object) -> None:
    """A peer's JSON raises the one error type."""
    with pytest.raises(RibcageError):
        Names.from_json(body)


def test_the_environment_decides_instance_and_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument before environment before default."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", "/tmp/x")
    monkeypatch.setenv("RIBCAGE_INSTANCE", "r7")
    assert Names.resolve() == Names("r7", Path("/tmp/x"))
    assert Names.resolve("r2").instance == "r2"
    monkeypatch.delenv("RIBCAGE_RUN_DIR")
    monkeypatch.delenv("RIBCAGE_INSTANCE")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/seven/state")
    states = Path("/home/seven/state/ribcage")
    assert Names.resolve() == Names("r1", Path("/run/user/7/ribcage"), states)
    assert Names.resolve().checkpoint == states / "r1" / "rib.checkpoint"
    assert Names.from_json(Names.resolve().to_json()) == Names.resolve()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert Names.resolve().run_base == Path("/tmp/ribcage-7")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Names.resolve().run_base == Path("/run/ribcage")
    assert Names.resolve().state_dir == Path("/var/lib/ribcage/r1")
    monkeypatch.setenv("RIBCAGE_STATE_DIR", "/srv/states")
    assert Names.resolve().state_dir == Path("/srv/states/r1")
    assert Names("r1", Path("/tmp/x")).state_dir == Path("/tmp/x-state/r1")


def test_who_asks_by_name_finds_the_systems_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest of root's router need not know its path; a router of one's own comes first."""
    monkeypatch.delenv("RIBCAGE_RUN_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.setattr("ribcage.shared.process.names.SYSTEM_RUN", tmp_path / "system")
    own, system = tmp_path / "own" / "ribcage", tmp_path / "system"
    assert Names.find("r1").run_base == own
    (system / "r1").mkdir(parents=True)
    assert Names.find("r1").run_base == system and Names.resolve("r1").run_base == own
    assert Names.find("r2").run_base == own
    (own / "r1").mkdir(parents=True)
    assert Names.find("r1").run_base == own
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path / "said"))
    assert Names.find("r1").run_base == tmp_path / "said"


def test_the_folder_that_outlives_a_reboot_is_closed(tmp_path: Path) -> None:
    """0700 whatever was there before; what is no folder is refused."""
    names = Names("r1", tmp_path / "base")
    names.state_dir.mkdir(parents=True, mode=0o777)
    names.make_state_dir()
    assert names.state_dir.stat().st_mode & 0o777 == 0o700
    names.state_dir.rmdir()
    names.state_dir.symlink_to(tmp_path)
    with pytest.raises(RibcageError) as refused:
        names.make_state_dir()
    assert refused.value.code == "E_RUN_DIR"


def test_root_of_a_user_namespace_has_the_base_of_the_user_outside() -> None:
    """`unshare -rn ribcage run` and `ribcage ps` outside of it meet, whether /run/ribcage is there
    or not: it is somebody else's."""
    if os.geteuid() == 0:
        drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
    else:
        drop = []
    where = "from ribcage.shared.process.names import Names\nprint(Names.resolve('x').run_base)\n"
    said = []
    for around in ([], ["unshare", "--user", "--map-root-user"]):
        possible, done = (
            subprocess.run(
                [*drop, *around, sys.executable, "-c", script],
                env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
            )
            for script in ("import ribcage", where)
        )  # fmt: skip
        if possible.returncode != 0:  # no user namespaces, or a Python in root's home
            pytest.skip(possible.stderr[-200:])
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1] != ""


def test_the_run_directory_is_private_and_ours(tmp_path: Path) -> None:
    """Made with a closed mode whatever the umask; a link or an open directory is refused."""
    names = Names("r1", tmp_path / "base")
    old = os.umask(0)
    try:
        names.make_run_dir()
        names.make_run_dir()
    finally:
        os.umask(old)
    assert names.run_dir.stat().st_mode & 0o777 == 0o711  # passed through, and shows nothing
    assert {folder.stat().st_mode & 0o777 for folder in names.folders} == {0o700}
    names.run_dir.chmod(0o777)
    with pytest.raises(RibcageError, match="writable by others"):
        names.make_run_dir()
    names.remove_run_dir()
    names.run_dir.symlink_to(tmp_path)
    with pytest.raises(RibcageError, match="not a directory"):
        names.make_run_dir()
