"""What a process of a router may do, tried from inside: with a worker's user, and in a worker.

The router is root's, as by default: a user a process, seccomp in force, and packets cross it.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ribcage.cli.answer.rights import rights_lines
from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from ribcage.shared.process.python import python
from ribcage.shared.process.rights import TRIALS
from tests.netns.router_rig import FLOWS, Rig, config, rig

POSSIBLE, REASON = available()
pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not POSSIBLE, reason=REASON),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than one user"),
]
TEACH = 'orphan_timeout = "5s"\nteach = true'
MANY = "count = 2\nrestart = { max = 1000 }"
GROUP = "games"  # of Debian's base; nobody of ours is in it
HOSTILE = ("exec", "ptrace", "packet-socket", "inet-socket", "bpf", "io-uring", "userfaultfd",
           "process-vm", "kill", "exec-memory")  # fmt: skip

# Runs as a worker's user, outside of its filter: what is left when somebody got round seccomp.
INTRUDER = """
import ctypes, errno, json, os, socket, sys
asked = json.load(sys.stdin)
said = {}
def attempt(name, act):
    try:
        act()
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
for name, path in asked["read"].items():
    attempt("read " + name, lambda: os.close(os.open(path, os.O_RDONLY)))
for name, path in asked["write"].items():
    attempt("write " + name, lambda: os.close(os.open(path, os.O_RDWR)))
for name, path in asked["list"].items():
    attempt("list " + name, lambda: os.listdir(path))
libc = ctypes.CDLL(None, use_errno=True)
def ptrace(pid):
    if libc.ptrace(0x4206, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
for name, pid in asked["processes"].items():
    attempt("signal " + name, lambda: os.kill(pid, 0))
    attempt("ptrace " + name, lambda: ptrace(pid))
    attempt("memory of " + name, lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY)))
def connect(path, kind):
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.connect(path)
attempt("connect ops", lambda: connect(asked["ops"], socket.SOCK_STREAM))
attempt("connect channel", lambda: connect(asked["channel"], socket.SOCK_SEQPACKET))
attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close())
def queue(mode):
    if libc.msgget(asked["queue"], mode) < 0:
        raise OSError(ctypes.get_errno(), "msgget")
attempt("queue send", lambda: queue(0o200))
attempt("queue receive", lambda: queue(0o400))
print(json.dumps(said))
"""

CLIENT = """
import json, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
    sock.connect(sys.argv[1])
    request = {"jsonrpc": "2.0", "id": 1, "method": sys.argv[2], "params": {}}
    sock.sendall(json.dumps(request).encode() + b"\\n")
    text = b""
    while not text.endswith(b"\\n"):
        text += sock.recv(65536)
print(text.decode())
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    text = config(f'[management]\nmode = "0660"\ngroup = "{GROUP}"\n', router=TEACH, workers=MANY)
    with rig(tmp_path_factory.mktemp("rights"), text) as made:
        yield made


def user_of(built: Rig, role: str, index: int = 0) -> int:
    for row in built.router.processes():
        if (row["role"], row["index"]) == (role, index):
            return int(row["uid"])
    raise LookupError(role)


def as_user(uid: int, gid: int, *groups: int) -> list[str]:
    also = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    words = ["setpriv", f"--reuid={uid}", f"--regid={gid}", *also, "--no-new-privs"]
    return [*words, "--bounding-set=-all", "--inh-caps=-all", "/usr/bin/python3", "-I", "-c"]


def test_by_default_no_worker_is_root_and_packets_flow(built: Rig) -> None:
    """The issue's first line: users, capabilities, filter as `ps --rights` reads them while a
    stream crosses and nothing is lost."""
    with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
        rows = built.router.call("process.list", look=True)["processes"]
    built.nothing_lost(stream.result)
    built.balanced()
    workers = [row["rights"] for row in rows if row["role"] == "worker"]
    control = next(row["rights"] for row in rows if row["role"] == "control")
    assert len({tuple(one["uids"]) for one in (*workers, control)}) == 3
    for one in workers:
        assert 0 not in one["uids"] and 0 not in one["gids"] and one["groups"] == []
        assert (one["cap_eff"], one["cap_bnd"], one["cap_amb"]) == ("none",) * 3
        assert one["no_new_privs"] and one["seccomp"] == "filter"
        limits = one["limits"]
        assert (limits["core"], limits["nproc"], limits["memlock"]) == ("0", "0", "0")
        assert one["descriptors"]["socket"] >= 3  # its channel, and the rings of its ports
    assert control["cap_eff"] == control["cap_bnd"] == "NET_ADMIN,NET_RAW"
    assert control["cap_amb"] == "NET_ADMIN"
    assert control["no_new_privs"]


def test_maps_of_processes_with_other_users_are_told(built: Rig) -> None:
    """T9: the supervisor reads them; a worker has the FIB read-only and its own counters."""
    rows = built.router.call("process.list", look=True)["processes"]
    for row in rows:
        if row["role"] == "worker":
            maps = {one["object"]: one["perms"] for one in row["maps"]}
            assert maps["ribcage.rt.fib"] == "r--s"
            assert "ribcage.rt.rib" not in maps
            assert not [name for name in maps if f".stats.{1 - row['index']}" in name]


def test_a_workers_user_reaches_nothing_but_its_channel(built: Rig) -> None:
    """Without the filter, with all that its uid may: tables, siblings, control, management socket,
    root's files and the other folders are closed; the channel's socket and sending on the queue
    are what it has."""
    names = built.router.names
    pids = {role: built.router.pid(role) for role in ("supervisor", "control")}
    pids["sibling"] = built.router.pid("worker", 1)
    shm = {"FIB": names.fib, "RIB": names.rib, "sibling's counters": names.stats(1)}
    asked = {
        "read": {"shadow": "/etc/shadow", "state": str(names.state_file),
                 "undo": str(names.undo_file)},
        "write": {name: f"/dev/shm{path}" for name, path in shm.items()}
        | {"semaphore": f"/dev/shm/sem.{names.writer_semaphore[1:]}"},
        "list": {folder.name: str(folder) for folder in (*names.folders, names.run_dir)},
        "processes": pids,
        "ops": str(names.control_socket),
        "channel": str(names.supervisor_socket),
        "queue": json.loads(names.state_file.read_text())["queue_key"],
    }  # fmt: skip
    uid, gid = user_of(built, "worker", 0), user_of(built, "worker", 0)
    done = built.r1.run([*as_user(uid, gid), INTRUDER], input=json.dumps(asked))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("connect channel") == "done"
    assert said.pop("queue send") == "done"
    assert {name: word for name, word in said.items() if word not in ("EACCES", "EPERM")} == (
        {name: "ENOENT" for name in said if "sibling's counters" in name and said[name] == "ENOENT"}
    )
    assert len(said) > 20
    built.router.wait_ready()


def test_controls_user_is_nobody_to_the_others(built: Rig) -> None:
    """It writes the tables and serves operators; workers, the supervisor and its folder are closed
    to it all the same."""
    names = built.router.names
    uid = user_of(built, "control")
    asked = {
        "read": {"state": str(names.state_file), "shadow": "/etc/shadow"},
        "write": {},
        "list": {"super": str(names.supervisor_dir)},
        "processes": {
            "supervisor": built.router.pid("supervisor"),
            "worker": built.router.pid("worker", 0),
        },
        "ops": str(names.supervisor_lock),
        "channel": str(names.supervisor_lock),
        "queue": 0x7FFFFFFF,
    }
    done = built.r1.run([*as_user(uid, uid), INTRUDER], input=json.dumps(asked))
    said = json.loads(done.stdout)
    refused = {name: word for name, word in said.items() if not name.startswith("queue")}
    assert set(refused.values()) <= {"EACCES", "EPERM"}, refused
    assert len(refused) >= 12


@pytest.mark.parametrize(
    ("method", "answer"), [("process.list", "result"), ("system.stop", "error")]
)
def test_a_user_of_the_group_reads_and_changes_nothing(
    built: Rig, method: str, answer: str
) -> None:
    """T8: management.group lets in; the role decides what is answered."""
    import grp

    group = grp.getgrnam(GROUP).gr_gid
    path = str(built.router.names.control_socket)
    done = built.r1.run([*as_user(64999, 64999, group), CLIENT, path, method])
    assert done.returncode == 0, done.stderr
    assert answer in json.loads(done.stdout)
    stranger = built.r1.run([*as_user(64999, 64999), CLIENT, path, method])
    assert stranger.returncode != 0 and "PermissionError" in stranger.stderr


def tried(built: Rig, kind: str) -> None:
    built.router.call("fault.inject", worker=1, kind=kind)


def answers(built: Rig, kind: str) -> list[str]:
    return [line.split("answer=")[1] for line in built.log_lines("fault.tried") if kind in line]


@pytest.mark.parametrize("name", ["try-open", "try-fork", "try-unlink"])
def test_what_is_harmless_and_not_needed_is_refused(built: Rig, name: str) -> None:
    """EPERM, and the worker goes on."""
    pid = built.router.pid("worker", 1)
    tried(built, name)
    wait_for("an answer", lambda: answers(built, name))
    assert answers(built, name) == ["EPERM"]
    assert built.router.pid("worker", 1) == pid


@pytest.mark.parametrize("name", [f"try-{one}" for one in HOSTILE])
def test_what_only_an_intruder_asks_ends_the_worker_by_name(built: Rig, name: str) -> None:
    """SIGSYS, told as what it was; its successor forwards."""
    pid = built.router.pid("worker", 1)
    tried(built, name)
    built.successor("worker", 1, pid)
    ends = [line for line in built.log_lines("child.exit") if f"child_pid={pid} " in line]
    assert "killed by signal 31 (SIGSYS): seccomp" in ends[0]
    assert answers(built, name) == []
    built.echo(count=1)


def test_log_lets_everything_happen(tmp_path: Path) -> None:
    """process.seccomp = "log": the same list, nothing refused by it; the kernel answers."""
    text = config('[process]\nseccomp = "log"\n', router=TEACH)
    with rig(tmp_path, text) as built:
        pid = built.router.pid("worker", 1)
        for name in TRIALS:
            tried(built, name)
            wait_for("an answer", lambda name=name: answers(built, name))
        said = {name: answers(built, name)[0] for name in TRIALS}
        assert (said["try-open"], said["try-exec-memory"]) == ("done", "done")
        assert said["try-exec"] == "ENOENT"
        assert said["try-packet-socket"] == "EPERM"  # no capability, whatever the filter
        assert built.router.pid("worker", 1) == pid
        row = next(r for r in built.router.processes() if r["role"] == "worker")
        assert row["seccomp"] == "filter"


def test_a_worker_without_its_queue_is_not_ready(tmp_path: Path) -> None:
    """T2: it says so, and so does the supervisor; nobody calls it ready before there is another
    queue. Control, who would ask for that at once, is held meanwhile."""
    with rig(tmp_path, config(router=TEACH), stop=False) as built:
        key = json.loads(built.router.names.state_file.read_text())["queue_key"]
        control, worker = built.router.pid("control"), built.router.pid("worker", 1)
        before = len(built.log_lines("child.ready"))
        os.kill(control, signal.SIGSTOP)
        assert built.r1.run(["ipcrm", "-Q", hex(key)]).returncode == 0
        os.kill(worker, signal.SIGKILL)
        wait_for("a line", lambda: built.log_lines("child.not_ready"))
        assert len(built.log_lines("child.ready")) == before
        os.kill(control, signal.SIGCONT)
        wait_for("a worker with a queue", lambda: len(built.log_lines("child.ready")) > before, 20)


def poison(folder: Path) -> dict[str, str]:
    """A folder full of modules that tell they ran, and the variables that lead there."""
    for name in ("json", "os", "re", "typer", "ribcage", "sitecustomize", "usercustomize", "cffi"):
        text = f"open({str(folder / 'ran')!r}, 'a').write({name!r} + chr(10))\n"
        (folder / f"{name}.py").write_text(text)
    home = folder / "home"
    home.mkdir()
    return {
        **os.environ,
        "HOME": str(home),
        "PYTHONPATH": str(folder),
        "PYTHONSTARTUP": str(folder / "json.py"),
        "PYTHONUSERBASE": str(folder),
    }


def test_nothing_that_lies_about_runs_as_root(tmp_path: Path) -> None:
    """T1: `run`, its roles and helpers (a reload compiles, a stop undoes) in a poisoned folder and
    environment."""
    traps = tmp_path / "traps"
    traps.mkdir()
    environment = poison(traps)
    command = str(Path(sys.executable).parent / "ribcage")
    with rig(tmp_path, config(router=TEACH), stop=False) as built:
        built.router.stop()
        words = ["-i", "rt", "run", "-c", str(built.router.folder / "rt.toml"), "--daemon"]
        environment |= {"RIBCAGE_RUN_DIR": str(built.router.run_base)}
        done: Any = built.r1.run([command, *words], cwd=traps, env=environment)
        assert done.returncode == 0, done.stderr
        os.kill(built.router.pid("supervisor"), 1)
        log = built.router.names.log_file
        wait_for("a reload", lambda: "reload.done" in log.read_text())
        built.router.kill("control")
        built.successor("control", 0, 0)
        ended = built.r1.run([command, "-i", "rt", "stop"], cwd=traps, env=environment)
        assert ended.returncode == 0, ended.stderr
    assert not (traps / "ran").exists(), (traps / "ran").read_text()


def test_undo_by_root_has_controls_user(tmp_path: Path) -> None:
    """Control is killed and the file left: the helper takes the rights of who wrote it, and puts
    everything back with them."""
    with rig(tmp_path, config(router=TEACH), stop=False) as built:
        undo_file, uid = built.router.names.undo_file, user_of(built, "control")
        assert undo_file.stat().st_uid == uid
        pids = [row["pid"] for row in built.router.processes()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert built.router.process is not None
        built.router.process.wait(5)
        command = python("ribcage.roles", "undo", str(built.router.names.run_dir))
        done = built.r1.run(command)
        assert (done.returncode, done.stderr) == (0, "")
        assert not undo_file.exists()
        assert "rc-host" not in built.r1.run(["ip", "link"]).stdout
        assert built.r1.run(["nft", "list", "ruleset"]).stdout == ""


def test_cores_are_for_debugging_and_tell_no_packet(tmp_path: Path) -> None:
    """process.core_dumps: a worker may leave one, and neither the FIB nor a ring is in it (`dd` in
    smaps: not dumped). Without it the limit is 0 and the process not dumpable."""
    with rig(tmp_path, config("[process]\ncore_dumps = true\n", router=TEACH)) as built:
        pid = built.router.pid("worker", 0)
        found = re.findall(
            r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ +(\S.*)\n(?:[A-Z].*\n)*?VmFlags: (.*)",
            Path(f"/proc/{pid}/smaps").read_text(),
            re.M,
        )
        kept = {
            name: flags.split() for name, flags in found if "ribcage" in name or "socket" in name
        }
        assert any("fib" in name for name in kept) and any("socket" in name for name in kept)
        assert all("dd" in flags for flags in kept.values()), kept
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert not re.search(r"Max core file size +0 +0 ", limits)
        assert Path(f"/proc/{pid}/maps").stat().st_uid == user_of(built, "worker", 0)  # dumpable
    with rig(tmp_path, config(router=TEACH)) as built:
        pid = built.router.pid("worker", 0)
        assert Path(f"/proc/{pid}/maps").stat().st_uid == 0
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text())


def test_in_a_user_namespace_one_user_is_said(tmp_path: Path) -> None:
    """Rootless: workers keep the one uid there is, without capabilities and behind seccomp; log,
    `ps --rights` and `doctor` say so in words."""
    with rig(tmp_path, config(router=TEACH), user=True) as built:
        assert "maps no users 61000-61063" in built.log_lines("users.one")[0]
        rows = built.router.call("process.list", look=True)["processes"]
        assert "All have one user" in "\n".join(rights_lines(rows))
        for row in rows:
            if row["role"] == "worker":
                assert (row["caps"], row["seccomp"], row["rights"]["cap_bnd"]) == (
                    "none", "filter", "none")  # fmt: skip
        done = built.r1.run(python("ribcage", "doctor"))
        assert "seccomp alone guards" in " ".join(done.stdout.split())
        pid = built.router.pid("worker", 1)
        tried(built, "try-exec")
        built.successor("worker", 1, pid)


def test_all_that_a_worker_is_told_later_works_behind_its_filter(tmp_path: Path) -> None:
    """A reload (CPUs, limits, one worker more and one less), a port that comes and goes, a fault in
    a message, another supervisor: nothing of it asks for a call that is refused."""
    base = 'orphan_timeout = "20s"\nteach = true'
    with rig(tmp_path, config(router=base), stop=False) as built:
        pids = [built.router.pid("worker", index) for index in (0, 1)]
        path = built.router.folder / "rt.toml"
        for workers in ("count = 3\nbatch = 32\ncpus = [0]", "count = 2"):
            done = len(built.log_lines("reload.done"))
            path.write_text(config(router=base, workers=workers))
            os.kill(built.router.pid("supervisor"), signal.SIGHUP)
            wait_for("a reload", lambda done=done: len(built.log_lines("reload.done")) > done + 1)
        wait_for("CPUs", lambda: len(os.sched_getaffinity(pids[0])) == os.cpu_count())
        for up in ("down", "up"):
            built.r1.run(["ip", "link", "set", "eth2", up], check=True)
        wait_for("eth2 again", lambda: built.router.call("process.list") and crosses(built))
        os.kill(built.router.pid("supervisor"), signal.SIGKILL)
        assert built.router.process is not None
        built.router.process.wait(5)
        built.router.start()
        assert pids == [built.router.pid("worker", index) for index in (0, 1)]
        built.echo()
        built.balanced()
        for word in ("message.failed", "role.crashed", "EPERM", "Operation not permitted"):
            assert word not in built.router.log.read_text(), word
        assert built.router.stop() == 0


def crosses(built: Rig) -> bool:
    try:
        built.echo(count=1)
    except AssertionError:
        return False
    return True
