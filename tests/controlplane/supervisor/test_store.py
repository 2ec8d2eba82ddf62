"""The descriptor store by systemd's protocol: a small service manager of this test's own."""

import array
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.supervisor.guardian.manager import Manager
from ribcage.controlplane.supervisor.loop import Loop
from ribcage.controlplane.supervisor.resources.store import Store, read_text

HERE = Path(__file__).parent


class ServiceManager:
    """NOTIFY_SOCKET and a descriptor store, as systemd has them: FDSTORE adds, also a second one of
    a name; FDSTOREREMOVE removes all of a name. Nothing else of it is here."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.sock.setblocking(False)
        self.fds: dict[str, list[int]] = {}
        self.said: list[str] = []

    def listen(self) -> list[str]:
        """All that is there; what was said so far."""
        while True:
            try:
                raw, extra, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(16))
            except BlockingIOError:
                return self.said
            fds = array.array("i")
            for _, _, data in extra:
                fds.frombytes(data)
            pairs = dict(line.split("=", 1) for line in raw.decode().splitlines())
            name = pairs.get("FDNAME", "stored")
            if "FDSTORE" in pairs:
                assert pairs["FDPOLL"] == "0"  # else a port whose link is down would be dropped
                assert ":" not in name and 0 < len(name) < 256
                self.fds.setdefault(name, []).extend(fds)
            elif "FDSTOREREMOVE" in pairs:
                for fd in self.fds.pop(name, []):
                    os.close(fd)
            else:
                self.said.append(raw.decode())

    def heard(self, text: str) -> bool:
        return text in self.listen()

    def run(self, command: list[str], env: dict[str, str], log: Any) -> "subprocess.Popen[bytes]":
        """Starts a service with what is stored, from descriptor 3 on."""
        names = [name for name, fds in self.fds.items() for _ in fds]
        fds = [fd for found in self.fds.values() for fd in found]
        code = (
            "import os, sys, fcntl\n"
            f"fds = {fds!r}\n"
            "high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 200) for fd in fds]\n"
            "for place, fd in enumerate(high, 3):\n"
            "    os.dup2(fd, place)\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "os.environ['WATCHDOG_PID'] = str(os.getpid())\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=fds,
            env={
                **env,
                "NOTIFY_SOCKET": str(self.path),
                "WATCHDOG_USEC": "3000000",
                "LISTEN_FDS": str(len(fds)),
                "LISTEN_FDNAMES": ":".join(names),
            },
        )

    def close(self) -> None:
        for fds in self.fds.values():
            for fd in fds:
                os.close(fd)
        self.sock.close()


def launch(router: Any, manager: ServiceManager) -> None:
    command = [sys.executable, str(HERE / "fake_router.py"), router.names.instance]
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(router.names.run_base), **router.env}
    ready = manager.listen().count("READY=1")
    with router.log_file.open("ab") as log:
        router.process = manager.run([*command, str(router.plan_file)], env, log)
    router.until("READY=1", lambda: manager.listen().count("READY=1") > ready)
    router.note_pids()


def test_a_service_manager_keeps_rings_stats_plan_and_state(
    make_router: Callable[..., Any], tmp_path: Path
) -> None:
    """READY, WATCHDOG, the store; after kill -9 with a worker, the next one has the same rings.
    STOPPING, and an empty store after an orderly end, so that a restart reads the file anew."""
    router, manager = make_router(), ServiceManager(tmp_path)
    launch(router, manager)
    router.open_port(4)
    router.disconnect()
    wanted = {"ring-4-0", "ring-4-1", "stats-0", "stats-1", "plan", "state"}
    router.until("all stored", lambda: manager.listen() and wanted <= set(manager.fds))
    router.until("WATCHDOG=1", lambda: manager.heard("WATCHDOG=1"))
    rings = {os.fstat(manager.fds[name][0]).st_ino for name in ("ring-4-0", "ring-4-1")}
    worker = router.worker_pids()[0]
    router.process.send_signal(19)
    router.pids.add(worker)
    os.kill(worker, 9)
    router.crash()
    launch(router, manager)

    def given() -> set[int]:
        pid = router.worker_pids()[0]
        links = Path(f"/proc/{pid}/fd").iterdir()
        return {path.stat().st_ino for path in links if "memfd:ring" in str(path.readlink())}

    router.until("the new worker has the stored ring", lambda: len(given() & rings) == 1)
    assert "store.taken" in router.log_text()
    manager.listen()
    assert {name: len(fds) for name, fds in manager.fds.items()} == dict.fromkeys(manager.fds, 1)
    router.process.terminate()
    router.until("the end", lambda: manager.listen() and router.process.poll() is not None)
    assert router.process.wait() == 0
    assert manager.heard("STOPPING=1")
    assert manager.fds == {}
    assert router.leftovers() == []
    manager.close()


def test_a_store_of_another_run_is_given_up(
    make_router: Callable[..., Any], tmp_path: Path
) -> None:
    """Rings without a state that knows them: closed here, and there."""
    router, manager = make_router(), ServiceManager(tmp_path)
    manager.fds["ring-9-0"] = [os.memfd_create("ring-9-0")]
    manager.fds["state"] = [os.memfd_create("nonsense")]
    launch(router, manager)
    router.until("dropped", lambda: manager.listen() is not None and "ring-9-0" not in manager.fds)
    assert router.stop() == 0
    manager.close()


def test_nothing_blocks_when_the_listener_does_not_read(tmp_path: Path) -> None:
    """More notices than its queue holds: they wait, with their descriptors, in order."""
    listener = ServiceManager(tmp_path)
    manager, loop = Manager(str(listener.path)), Loop()
    store = Store(manager)
    manager.run(loop)
    for number in range(50):
        fd = os.memfd_create(f"m{number}")
        store.keep(f"m-{number}", fd)
        os.close(fd)
    while len(listener.fds) < 50:
        listener.listen()
        loop.after(0.01, lambda: None)
        loop.turn()
    assert list(listener.fds) == [f"m-{number}" for number in range(50)]
    store.drop("m-3")
    store.text("note", "héllo")
    listener.listen()
    assert "m-3" not in listener.fds
    assert read_text(listener.fds["note"][0]) == "héllo"
    manager.close()
    loop.close()
    listener.close()


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens-here"])
def test_without_a_listener_nothing_is_kept_and_nothing_fails(address: str) -> None:
    """In the foreground, or when a listener is gone."""
    store = Store(Manager(address))
    fd = os.memfd_create("x")
    store.keep("x", fd)
    store.text("y", "z")
    os.close(fd)
    assert bool(store.kept) == bool(address)
    assert store.taken() == {}
    store.drop_all()


def test_strange_environments_are_read_without_harm() -> None:
    """Numbers that are none, descriptors that are not there, another process's."""
    for listen_pid in ("", "x", "1", str(os.getpid())):
        env = {"LISTEN_PID": listen_pid, "LISTEN_FDS": "900", "LISTEN_FDNAMES": "a:b",
               "WATCHDOG_USEC": "soon", "RIBCAGE_GUARDIAN": "1 x", "RIBCAGE_RESTARTS": "-1",
               "OTHER": "stays"}  # fmt: skip
        inheritable = {fd: os.get_inheritable(fd) for fd in range(3)}
        manager = Manager.from_environment(env)
        assert env == {"OTHER": "stays"}
        assert (manager.watchdog, manager.guardian, manager.restarts) == (0.0, None, 0)
        assert {fd: os.get_inheritable(fd) for fd in range(3)} == inheritable
