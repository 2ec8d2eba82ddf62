"""A user whom management.group lets in, and one who is nobody: refused in words, never a bug."""

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ribcage
from ribcage.cli.main import main
from ribcage.shared.process.names import Names

GUEST = 64_999
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Root's run directory as a router makes it: what is not `ops` is closed to others."""
    base = Path(tempfile.mkdtemp(prefix="rcg-"))  # pytest's own are closed to others
    base.chmod(0o755)
    names = Names("rg", base)
    names.make_run_dir()
    names.operators_dir.chmod(0o711)
    names.supervisor_lock.write_text("1\n")
    names.undo_file.write_text("{}")
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(base))
    yield names
    shutil.rmtree(base, ignore_errors=True)


def as_guest(*words: str) -> tuple[int, dict[str, Any]]:
    """`ribcage -j -i rg WORDS` as another user: exit status, the document."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(GUEST, GUEST, GUEST)
        os.setresuid(GUEST, GUEST, GUEST)
        if not os.access(str(ribcage.__file__), os.R_OK):
            os._exit(77)
        sys.stdout = os.fdopen(write, "w")
        os._exit(main(["-j", "-i", "rg", *words]))
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 77:
        pytest.skip("another user cannot read this checkout")
    return status, json.loads(text)


def test_what_only_the_routers_user_can_do_is_refused(closed: Names) -> None:
    """undo and gc name the folder that is closed, and leave all as it is."""
    status, answer = as_guest("undo")
    assert (status, answer["error"]["code"]) == (5, "E_PERMISSION")
    assert "is closed to uid 64999" in answer["error"]["message"]
    for words in (("gc",), ("gc", "--dry-run")):
        status, answer = as_guest(*words)
        assert status == 1 and "is closed to uid 64999" in answer["routers"][0]["problems"][0]
    assert closed.undo_file.exists() and closed.supervisor_lock.exists()


def test_an_admin_stops_a_router_whose_files_he_cannot_see(closed: Names) -> None:
    """Control is asked, and decides; the end is seen from the run directory's."""
    status, answer = as_guest("stop")
    assert (status, answer["error"]["code"]) == (4, "E_NO_DAEMON")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(closed.control_socket))
        closed.control_socket.chmod(0o666)
        server.listen()
        pid = os.fork()
        if pid == 0:
            text = b""
            while not text:  # a connection may only look whether anybody listens
                sock = server.accept()[0]
                text = sock.recv(4096)
            asked = json.loads(text)
            good = asked["method"] == "system.stop"
            closed.control_socket.unlink()
            shutil.rmtree(closed.run_dir)
            sock.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {}}).encode())
            sock.send(b"\n")
            os._exit(0 if good else 1)
        status, answer = as_guest("stop")
        assert os.waitpid(pid, 0)[1] == 0
    assert status == 0 and answer["stopped"] is True
