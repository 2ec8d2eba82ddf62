"""The worker's decision on one frame, without a worker: ask().

    asked = ask(view, question)        None: such a frame never enters a ring
    asked.decision.outcome, .stage, .reason; asked.prefix; asked.c.lookup, .error, .icmp_work

explain_frame() (csrc/decide/explain.h) calls the functions that forward, so the two cannot differ.
Control alone; nothing is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.management.question import Question, make_frame, received, station_of
from ribcage.controlplane.values.topology import Topology
from ribcage.shared.addresses import Address, Network
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.fields import prefix_of, read_address


@dataclass(slots=True)
class View:
    """What an answer is read from. `slot_bytes`: of a ring slot, 0 = larger than any frame."""

    reader: FibReader
    topology: Topology
    seed: int
    origin: Callable[[Network, Address], str] | None = None  # about the source of a route
    slot_bytes: int = 0


@dataclass(slots=True)
class Asked:
    """A decision. `c`: struct explain_answer of csrc/decide/explain.h, pointing into `frame`."""

    c: Any
    frame: Any

    @property
    def packet(self) -> Any:
        return self.c.work.packet

    @property
    def decision(self) -> Any:
        return self.c.work.decision

    @property
    def source(self) -> Address | None:
        return read_address(self.packet.source, self.packet.family)

    @property
    def target(self) -> Address | None:
        """None: no IP header was found."""
        return read_address(self.packet.target, self.packet.family)

    @property
    def prefix(self) -> Network | None:
        """The prefix that matched; None: nothing did, or it was not looked up."""
        return prefix_of(self.c.match) if self.c.match.nexthop else None


def ask(view: View, question: Question) -> Asked | None:
    """The worker's decision; None: the frame never enters a ring. E_FIB_BUSY when the FIB cannot
    be read now."""
    port = question.port
    asked = ffi.new("struct explain_question *")
    frame = question.frame if question.frame is not None else make_frame(question)
    asked.station = lib.STATION_HOST
    asked.is_host = port is not None and port.host
    if question.frame is not None:
        asked.station = station_of(frame, port)
        frame, vlan = received(frame)
        ethertype = int.from_bytes(frame[12:14], "big")
        kind = lib.PORT_KIND_HOST if asked.is_host else lib.PORT_KIND_NETWORK
        if not lib.port_filter_takes(kind, ethertype, vlan, asked.station):
            return None
    held = ffi.from_buffer(frame)
    room = view.slot_bytes - lib.RING_FRAME_AT if view.slot_bytes else len(frame)
    asked.frame = ffi.cast("uint8_t *", held)
    vnet = ffi.from_buffer(question.vnet)
    asked.vnet = ffi.cast("uint8_t *", vnet) if question.vnet else ffi.NULL
    asked.captured, asked.wire_length = min(len(frame), room), len(frame)
    asked.seed = view.seed & 0xFFFFFFFFFFFFFFFF
    asked.ingress = port.index if port is not None else lib.FIB_MAX_PORTS
    asked.open_ports = sum(1 << index for index in view.topology.ports)
    answer = ffi.new("struct explain_answer *")
    if lib.explain_frame(view.reader.handle, asked, answer) != 0:
        raise RibcageError(
            "E_FIB_BUSY",
            "the FIB changed under the question, or its lock was not free",
            "try again",
            Exit.TIMEOUT,
        )
    return Asked(answer, held)
