"""Whatever the caller left behind (dispositions, mask, streams, limits), it works as always."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def launch(router: Any, script: str) -> None:
    """Starts the fake router by a shell script in which COMMAND stands for it."""
    command = f"exec {sys.executable} {HERE / 'fake_router.py'} {router.names.instance} "
    command += str(router.plan_file)
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(router.names.run_base)}
    with router.log_file.open("ab") as log:
        router.process = subprocess.Popen(
            ["bash", "-c", script.replace("COMMAND", command)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
        )  # fmt: skip


def works(router: Any) -> None:
    """A worker that dies is replaced, and the stop succeeds and leaves nothing."""
    router.until("a state file", router.names.state_file.exists)
    router.until("two workers", lambda: len(router.worker_pids()) == 2)
    router.until("control", lambda: router.names.control_socket.exists())
    router.note_pids()
    old = router.worker_pids()[0]
    os.kill(old, signal.SIGKILL)
    router.until("a successor", lambda: old not in router.worker_pids()
                 and len(router.worker_pids()) == 2)  # fmt: skip
    router.note_pids()
    assert router.stop() == 0
    assert router.leftovers() == []


@pytest.mark.parametrize(
    "script",
    [
        "trap '' CHLD; COMMAND",
        "trap '' CHLD TERM INT HUP USR1 USR2 PIPE; COMMAND",
        "COMMAND 0<&- 1>&- 2>&-",
        "umask 0; COMMAND",
        "umask 0777; COMMAND",
        "ulimit -c 0; ulimit -f 100; COMMAND",
    ],
)
def test_what_a_shell_may_leave_behind(script: str, make_router: Any) -> None:
    """Ignored signals, closed streams, a strange umask, a low limit."""
    router = make_router()
    launch(router, script)
    works(router)
    if "ulimit -f" in script:
        assert "limit.low name=RLIMIT_FSIZE" in router.log_text()


def test_a_mask_that_blocks_everything(make_router: Any) -> None:
    """Inherited through exec; children must not have it either."""
    router = make_router()
    code = "import os,signal,sys; signal.pthread_sigmask(0, signal.valid_signals()); "
    command = [sys.executable, str(HERE / "fake_router.py"), router.names.instance]
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(router.names.run_base)}
    with router.log_file.open("ab") as log:
        router.process = subprocess.Popen(
            [sys.executable, "-c", code + "os.execv(sys.argv[1], sys.argv[1:])", *command,
             str(router.plan_file)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
        )  # fmt: skip
    works(router)


def test_descriptors_of_the_caller_are_closed(make_router: Any) -> None:
    """A pipe that the caller waits on sees its end, though the router runs on."""
    router = make_router()
    reader, writer = os.pipe()
    command = [sys.executable, str(HERE / "fake_router.py"), router.names.instance]
    env = {**os.environ, "RIBCAGE_RUN_DIR": str(router.names.run_base)}
    with router.log_file.open("ab") as log:
        router.process = subprocess.Popen(
            [*command, str(router.plan_file)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, pass_fds=[writer],
        )  # fmt: skip
    os.close(writer)
    assert os.read(reader, 1) == b""  # ends the wait only because nobody holds the other end
    os.close(reader)
    works(router)
