"""As root each process has a user of its own; two routers never share one."""

import os
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.resources import users as claims
from ribcage.controlplane.supervisor.resources.users import Users, why_one_user
from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import ManagementPlan, ProcessPlan
from tests.controlplane.supervisor.test_life import MakeRouter

RANGE = (61000, 61063)
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than one user")


def status(pid: int, name: str) -> list[str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(line.split()[1:] for line in text.splitlines() if line.startswith(f"{name}:"))


@root
def test_each_process_of_root_has_a_user_of_its_own(router: Any) -> None:
    """Control and its standby one, each worker another, none of them an account or nobody; the
    queue is control's to read and the workers' to write; a successor knows them again."""
    router.until("standby", lambda: "standby" in [row["role"] for row in router.ps()])
    control, standby = router.child("control"), router.child("standby")
    pids = router.worker_pids()
    ids = [control["uid"], *(router.child("worker", i)["uid"] for i in (0, 1))]
    assert len(set(ids)) == 3
    assert all(RANGE[0] <= uid <= RANGE[1] for uid in ids)
    assert standby["uid"] == ids[0]
    for pid, uid in zip([control["pid"], *pids], ids, strict=True):
        assert status(pid, "Uid") == [str(uid)] * 4
    assert status(control["pid"], "Groups") == [str(ids[1])]
    for pid in pids:
        assert status(pid, "Gid") == [str(ids[1])] * 4
        assert status(pid, "Groups") == []
    rows = [row.split() for row in Path("/proc/sysvipc/msg").read_text().splitlines()[1:]]
    mine = [row for row in rows if int(row[0]) == router.state()["queue_key"]]
    assert [(row[2], row[7], row[8]) for row in mine] == [("620", str(ids[0]), str(ids[1]))]
    router.disconnect()
    router.crash()
    router.start()
    assert router.worker_pids() == pids
    assert router.state()["users"] == ids
    assert router.stop() == 0
    assert router.leftovers() == []


@root
def test_what_a_process_keeps_is_what_is_written(router: Any) -> None:
    """Workers no capability at all, bounding set and securebits included; control two, one of which
    its programs get; the supervisor those of its list, none of them more than once explained."""
    control = router.child("control")["pid"]
    for pid in router.worker_pids():
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status(pid, name)[0], 16) == 0, name
        assert status(pid, "NoNewPrivs") == ["1"]
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status(control, name)[0], 16) == 1 << 12 | 1 << 13, name
    assert int(status(control, "CapAmb")[0], 16) == 1 << 12
    assert status(control, "NoNewPrivs") == ["1"]


@root
def test_folders_are_of_their_level_of_trust(router: Any) -> None:
    """Owner, group and mode of each; the directory itself shows nothing to those who pass."""
    names = router.names
    control, first = router.child("control")["uid"], router.child("worker", 0)["uid"]
    seen = {
        path: (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777)
        for path in (names.run_dir, *names.folders)
    }
    assert seen == {
        names.run_dir: (0, seen[names.run_dir][1], 0o711),
        names.operators_dir: (control, seen[names.operators_dir][1], 0o700),
        names.control_dir: (control, control, 0o700),
        names.supervisor_dir: (0, seen[names.supervisor_dir][1], 0o700),
        names.channel_dir: (0, first, 0o710),
    }


@root
def test_off_keeps_one_user_and_says_so(make_router: MakeRouter) -> None:
    """All are root then, without capabilities all the same."""
    router = make_router(1)
    router.write_plan(1, process=ProcessPlan(users=None))
    router.start()
    router.logged("users.one")
    assert status(router.worker_pids()[0], "Uid") == ["0"] * 4
    assert status(router.worker_pids()[0], "CapEff") == ["0000000000000000"]


@root
def test_two_routers_share_a_range_and_no_user(make_router: MakeRouter) -> None:
    """A second one takes others, also after a kill of the first one's supervisor, whose locks have
    gone with it while its children live."""
    one, two = make_router(2).start(), make_router(2)
    one.crash()
    two.start()
    first = {child["uid"] for child in one.state()["children"]}
    second = {child["uid"] for child in two.state()["children"]}
    assert first and second and not first & second


@root
def test_a_range_that_is_too_small_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are the least; the hint is a wider range. Nothing stays behind."""
    monkeypatch.setattr(claims, "CLAIMS", tmp_path / "claims")
    with pytest.raises(RibcageError) as caught:
        Users.claim((62000, 62000))
    assert caught.value.code == "E_USERS"
    assert "62000-" in str(caught.value.hint)
    wide = Users.claim((62000, 62009))
    assert wide.worker(1) == 62002
    other = Users.claim((62000, 62009))
    assert other.control == 62003
    wide.release()
    assert (tmp_path / "claims").exists()  # the other one's locks are on it
    other.release()
    assert not (tmp_path / "claims").exists()


@root
def test_an_account_keeps_its_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could look into a process of ours; the next uid is taken."""
    accounts = tmp_path / "passwd"
    accounts.write_text("somebody:x:62000:62000::/:/bin/sh\n")
    monkeypatch.setattr(claims, "ACCOUNTS", accounts)
    monkeypatch.setattr(claims, "CLAIMS", tmp_path / "claims")
    claimed = Users.claim((62000, 62009))
    assert (claimed.control, claimed.worker(0)) == (62001, 62002)
    claimed.release()


def test_a_user_who_is_not_mapped_is_no_choice() -> None:
    """In a user namespace of a plain user, and for one without capabilities: said in words."""
    assert why_one_user(None) == 'process.users = "off"'
    if os.geteuid() != 0:
        assert why_one_user(RANGE) is not None


@root
def test_a_folder_closed_to_the_users_is_named_at_once(make_router: MakeRouter) -> None:
    """Not a router that never gets ready: the folder, its mode, and the command that opens it."""
    router = make_router(1)
    router.names.run_base.mkdir(mode=0o700)
    process = router.launch()
    assert process.wait(15) == 5
    assert "is closed to the users" in router.log_text()
    assert f"chmod o+x {router.names.run_base}" in router.log_text()
    assert not router.names.run_dir.exists()


@root
def test_the_sockets_mode_opens_its_folder_to_the_same(make_router: MakeRouter) -> None:
    """Whom management.mode and .group let in may reach the socket; his role is another matter:
    tests/netns/test_router_rights.py."""
    router = make_router(1)
    router.write_plan(1, management=ManagementPlan(mode=0o660, group="nogroup"))
    router.start()
    info = router.names.operators_dir.stat()
    assert (info.st_mode & 0o777, info.st_gid) == (0o710, 65534)


@root
def test_what_a_run_before_left_is_given_to_the_next_user(
    make_router: MakeRouter, tmp_path: Path
) -> None:
    """Another uid this time: control has its journal all the same, and nothing a link leads to."""
    router = make_router(1)
    names = router.names
    names.make_run_dir()
    names.undo_file.write_text("{}")
    victim = tmp_path / "victim"
    victim.write_text("root's")
    (names.control_dir / "link").symlink_to(victim)
    (names.control_dir / "twin").hardlink_to(victim)
    for path in (names.undo_file, names.control_dir):
        os.chown(path, 61777, 61777)
    router.start()
    assert names.undo_file.stat().st_uid == router.child("control")["uid"] != 61777
    assert victim.stat().st_uid == 0
    for path in ("link", "twin"):
        (names.control_dir / path).unlink()
    names.undo_file.unlink()


@root
def test_a_fib_that_somebody_else_made_is_not_handed_on(router: Any) -> None:
    """/dev/shm is open to all: a segment of our name that is not control's is left where it is."""
    path = Path(f"/dev/shm{router.names.fib}")
    held = path.read_bytes()
    path.unlink()
    path.write_bytes(held)
    os.chown(path, 61999, 61999)
    router.tell({"type": "fib-ready", "name": router.names.fib})
    router.logged("fib.absent")
    assert "belongs to uid 61999" in router.log_text()


@root
def test_every_worker_has_its_user_before_the_first_is_forked(make_router: MakeRouter) -> None:
    """A range that cannot serve all ends the start at once, with its code."""
    router = make_router(3)
    router.write_plan(3, process=ProcessPlan(users=(63000, 63002)))
    assert router.launch().wait(15) == 5
    assert "4 users are needed" in router.log_text()
    assert "child.start" not in router.log_text()
    assert router.leftovers() == []
