"""KernelEdge: everything control does with the kernel, behind one object.

SKELETON: signatures are final, bodies follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ribcage.controlplane.kernel.events import Event, LinkEvent, NeighbourEvent


class Interface(Protocol):
    """What is needed of shared.plan.InterfacePlan."""

    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> Sequence[str]: ...
    @property
    def mtu(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class HostPort:
    """The far end of the pair: the FIB port of kind host. `kernel_name` is `rc-host` or like."""

    name: str
    ifindex: int
    mac: bytes
    mtu: int
    kernel_name: str


class KernelEdge:
    """See the module. Every method belongs to control's event loop thread."""

    def __init__(
        self,
        *,
        instance: str,
        undo_file: Path,
        on_event: Callable[[Event], None],
        max_neighbours: int = 4096,
        log: Callable[..., None] | None = None,  # log(level, event, **fields)
    ) -> None: ...

    async def start(self) -> list[str]:
        """Journal, namespace settings, rc-host pair, monitor; returns once the initial dump was
        told through on_event. The list names what could not be done (nothing fatal raised but
        OSError when netlink itself is refused). Over what a killed control left: adopts it."""
        raise NotImplementedError

    async def configure(
        self, interfaces: Sequence[Interface], router_id: str | None = None
    ) -> list[str]:
        """Make the ports as the plan says; again with another list is a reload. Interfaces that
        do not exist yet are made so when they appear. Returns problems, one line each."""
        raise NotImplementedError

    async def stop(self) -> list[str]:
        """Close, then undo all that the journal holds."""
        raise NotImplementedError

    async def detach(self) -> None:
        """Close, leaving the kernel as it is (for a successor)."""
        raise NotImplementedError

    @property
    def host_port(self) -> HostPort | None:
        """The host port, or None when it could not be made."""
        raise NotImplementedError

    def links(self) -> list[LinkEvent]:
        """The links that exist now, as their last event."""
        raise NotImplementedError

    def neighbours(self) -> list[NeighbourEvent]:
        """The neighbours known now on configured ports."""
        raise NotImplementedError

    def resolve(self, ifindex: int, address: str) -> bool:
        """Ask the kernel to resolve (or re-probe) a neighbour; the answer is a NeighbourEvent.
        Never blocks. False: refused by a limit, or not an address that can be resolved."""
        raise NotImplementedError

    def manage(self, ifindex: int, address: str) -> bool:
        """Keep a gateway resolved for ever, over link flaps and new ifindexes. Idempotent."""
        raise NotImplementedError

    def unmanage(self, ifindex: int, address: str) -> None:
        """Leave the neighbour to ordinary ageing. Idempotent."""
        raise NotImplementedError

    def counters(self) -> dict[str, Any]:
        """events, overruns, resyncs, resolve_sent, resolve_limited, neighbours_refused, ..."""
        raise NotImplementedError
