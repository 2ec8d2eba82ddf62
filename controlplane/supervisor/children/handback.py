"""What a child hands back to a supervisor's successor: rings, stats objects, lock words.

    take_back(context, child, message, recorded)     # of its hello; what is left is the caller's

It kept copies through our predecessor's death. None is taken on its word: a stats object and lock
words are those whose inode is in the state file, a ring is a packet socket of a port that stood
there too (`recorded`). What is refused is closed and told; it is made anew.
"""

import os

from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.shared.errors import RibcageError
from ribcage.shared.process.log import log
from ribcage.shared.process.message import Message
from ribcage.shared.process.port_rings import PortRings


def take_back(
    context: Context, child: Child, message: Message, recorded: list[dict[str, object]]
) -> None:
    """The descriptors it hands over: ours from now on, copies of its own."""
    _stats(context, child, message)
    sync = message.take("sync")
    if sync is not None:
        context.objects.take_sync(sync)
    if child.role != "worker":
        return
    if "fib" in message.fds:
        child.took_fib(message.fds["fib"])
    described = message.body.get("ports")
    for body in described if isinstance(described, list) else []:
        try:
            port = PortRings.from_json(body if isinstance(body, dict) else {})
        except RibcageError as error:
            log("warning", "guest.port", child=child.name, why=error.message)
            continue
        ring = message.take(f"ring:{port.index}")
        if ring is None:
            continue
        if port.to_json() in recorded and context.roles.is_ring(ring, port):
            context.ports.adopt(port, child.index, ring)
            child.has_ports.add(port.index)
        else:
            log("warning", "guest.ring", child=child.name, port=port.name)
            os.close(ring)  # control says its ports again: a true one is opened


def _stats(context: Context, child: Child, message: Message) -> None:
    """A worker has its own object, control all of them, those of nobody now included."""
    for name in list(message.fds):
        if child.role == "worker":
            slot = child.index if name == "stats" else None
        else:
            slot = _index(name, "stats:")
            slot = _index(name, "resting:") if slot is None else slot
        if slot is not None and not context.objects.take_stats(slot, message.fds.pop(name)):
            log("warning", "guest.stats", child=child.name, worker=slot)


def _index(name: str, prefix: str) -> int | None:
    number = name.removeprefix(prefix)
    if name.startswith(prefix) and number.isascii() and number.isdigit() and len(number) < 4:
        return int(number)
    return None
