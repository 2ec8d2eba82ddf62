"""`run --daemon`: hands the plan to the process that was begun early, and waits for its verdict.

launch(session, words, plan_fd, names, log_file)     # answers, or raises what kept it from it
"""

import contextlib
import json
import os
import select
import time
from pathlib import Path

from ribcage.cli.session import Session
from ribcage.controlplane.supervisor.start.early import DAEMON, Early
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelError
from ribcage.shared.process.names import Names

READY_TIMEOUT = 40.0


def launch(session: Session, words: list[str], fd: int, names: Names, log_file: Path) -> None:
    """Has the daemon begin and waits for its verdict, one object on a pipe."""
    session.output.reached = f"the router may go on starting; its log is {log_file}"
    timeout = session.patience(READY_TIMEOUT)
    early = session.early if session.early.pid else Early.spawn(*DAEMON)
    if not early.pid:
        raise RibcageError("E_START", "no process can be started", "free processes or memory")
    read_end, write_end = os.pipe()
    channel = Channel.from_fd(os.dup(early.fd))
    try:
        channel.send({"type": "begin", "words": words}, {"plan": fd, "status": write_end})
    except ChannelError:
        pass  # it was ended: the pipe says so
    finally:
        channel.close()
        os.close(write_end)
    early.leave()
    said = _said(read_end, timeout)
    if said is None:
        raise RibcageError(
            "E_TIMEOUT",
            f'router "{names.instance}" was not ready within {timeout:g} s',
            f"ribcage ps and {log_file} say how far it is; ribcage stop gives it up",
            Exit.TIMEOUT,
        )
    pid = _verdict(said, names, log_file)
    document = {"instance": names.instance, "pid": pid, "ready": True, "log": str(log_file)}
    text = f'router "{names.instance}" is ready, pid {pid}\nits log is {log_file}'
    session.output.answer(document, text)


def _said(fd: int, timeout: float) -> bytes | None:
    """What the daemon wrote until it closed the pipe; None when that lasts too long."""
    end, raw = time.monotonic() + timeout, b""
    while select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
        data = os.read(fd, 65536)
        raw += data
        with contextlib.suppress(ValueError):
            json.loads(raw)
            return raw  # the guardian has the pipe, too, for the next supervisor
        if not data:
            return raw
    return None


def _verdict(said: bytes, names: Names, log_file: Path) -> int:
    """The supervisor's pid; or why it did not start, in its own words when it had any."""
    try:
        body = json.loads(said)
    except ValueError:
        body = {}
    if body.get("ready"):
        return int(body["pid"])
    if body.get("message"):
        raise RibcageError.from_json(body, int(body.get("exit", Exit.INTERNAL)))
    raise RibcageError(
        "E_START",
        f'router "{names.instance}" ended before it was ready',
        f"its own words are in {log_file}",
    )
