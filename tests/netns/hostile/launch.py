"""A router whose worker 1 is hostile: `python launch.py INSTANCE PLAN-FILE`.

The real supervisor, control and worker 0. Worker 1 is a real one, too: it forwards, with the uid,
the rights and the descriptors that workers have, but for one limit: it may have threads. One
listens on an abstract socket of the network namespace, and does what it is told (attacks.py). Not
a test.
"""

import json
import os
import resource
import select
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.supervisor.context import Settings
from ribcage.controlplane.supervisor.start.lives import run_supervisor
from ribcage.dataplane.process import WorkerProcess
from ribcage.dataplane.worker import _await_attach
from ribcage.roles import roles
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.stats import UNUSABLE
from ribcage.shared.process import rights
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import Message
from ribcage.shared.process.names import Names
from tests.netns.hostile.attacks import Hands, attack

HOSTILE = 1
SIGTERM = 15


def address(instance: str) -> bytes:
    return b"\0ribcage-hostile-" + instance.encode()


def run_worker(channel_fd: int) -> None:
    """As dataplane/worker.py, and with a thread that has everything this process has."""
    channel = Channel.from_fd(channel_fd)
    signals = lib.sys_signalfd(ffi.new("int32_t[]", [SIGTERM]), 1)
    message = _await_attach(channel, signals)
    if message is None:
        return
    if message.body["index"] == HOSTILE:
        hands = grasp(message, channel_fd)
        threading.Thread(target=obey, args=(hands,), daemon=True).start()
    try:
        worker = WorkerProcess(channel, signals, message)
    except RibcageError as error:
        raise SystemExit(UNUSABLE if error.code == "E_STATS" else 1) from error
    worker.loop()
    os._exit(0)  # whatever the thread is at


def grasp(message: Message, channel_fd: int) -> Hands:
    """Copies of all that came with the attach message."""
    fds, body = message.fds, message.body
    return Hands(
        index=body["index"],
        names=Names.from_json(body["names"]),
        queue_key=body["queue_key"],
        channel=os.dup(channel_fd),
        stats=os.dup(fds["stats"]),
        bell=os.dup(fds["bell"]),
        rings=[os.dup(fd) for name, fd in fds.items() if name.startswith("ring:")],
    )


def obey(hands: Hands) -> None:
    """One order a connection: {"attack": name, "seconds": s}; the answer when it is over."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    while True:
        try:
            listener.bind(address(hands.names.instance))
            break
        except OSError:
            select.select([], [], [], 0.02)  # a predecessor's, who is about to be gone
    listener.listen(4)
    while True:
        client, _ = listener.accept()
        with client:
            order = json.loads(client.recv(65536))
            try:
                answer = attack(order["attack"], hands, order["seconds"])
            except Exception as error:
                answer = {"failed": repr(error)}
            client.send(json.dumps(answer).encode())


def main() -> int:
    instance, plan_file = sys.argv[1:]
    settings = Settings.parse(Path(plan_file).read_text())
    # The thread begins before the worker shuts itself in, and so it is not: somebody who got round
    # the list of system calls.
    lower = rights._lower

    def lowered(what: int, limit: int) -> None:
        if what != resource.RLIMIT_NPROC:
            lower(what, limit)

    rights._lower = lowered
    lent = replace(roles(), run_worker=run_worker)
    return run_supervisor(settings, Names.resolve(instance), lent)


if __name__ == "__main__":
    sys.exit(main())
