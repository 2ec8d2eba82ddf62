"""A Kernel in r1 of the demo topology, in a forked child (`Node.call`), and all that it told.

    in_r1(lab, tmp_path / "undo.json", body)    body(rig) with the kernel started and configured

Not a test.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ribcage.controlplane.kernel.events import (
    KernelEvent,
    NeighbourEvent,
)
from ribcage.controlplane.kernel.kernel import Kernel
from ribcage.lab.topology import topologies
from ribcage.lab.topology.namespaces import Lab, Node
from ribcage.shared.plan import InterfacePlan

DEADLINE = 10.0  # generous: what is waited for takes milliseconds


PLAN = [InterfacePlan(name, own) for name, own in topologies.R1_ADDRESSES.items()]


class Rig:
    """A `Kernel` and everything it told."""

    def __init__(self, undo_file: Path, instance: str = "r1") -> None:
        self.events: list[KernelEvent] = []
        self.logged: list[str] = []
        self._news = asyncio.Event()
        self.consumer: Callable[[KernelEvent], None] = self._on_event
        self.kernel = Kernel(
            instance=instance,
            undo_file=undo_file,
            on_event=lambda event: self.consumer(event),
            log=lambda level, event, **fields: self.logged.append(f"{level} {event} {fields}"),
        )

    def _on_event(self, event: KernelEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a named state; looks again after each event and every 20 ms."""
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while not (value := condition()):
            assert asyncio.get_running_loop().time() < deadline, f"{what}: {self.events[-5:]}"
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), 0.02)
            except TimeoutError:
                continue
        return value

    def last(self, kind: type, **fields: Any) -> Any:
        """The newest event of a kind whose fields are these."""
        for event in reversed(self.events):
            if isinstance(event, kind) and all(
                getattr(event, name) == value for name, value in fields.items()
            ):
                return event
        return None

    async def resolved(self, address: str) -> NeighbourEvent:
        return await self.until(  # type: ignore[no-any-return]
            lambda: next(
                (n for n in self.kernel.neighbours() if str(n.address) == address and n.mac), None
            ),
            f"{address} resolved",
        )


def in_r1(
    lab: Lab,
    undo_file: Path,
    body: Callable[[Rig], Awaitable[Any]],
    plan: list[InterfacePlan] = PLAN,
    stop: bool = True,
) -> Any:
    """Run `body` with a started and configured `Kernel` in r1; then stop it. Problems fail."""

    async def main() -> Any:
        rig = Rig(undo_file)
        assert await rig.kernel.start() == []
        assert await rig.kernel.configure(plan) == []
        result = await body(rig)
        if stop:
            assert await rig.kernel.stop() == []
            assert not undo_file.exists()
        return result

    return lab.nodes["r1"].call(lambda: asyncio.run(main()))


def sysctls() -> dict[str, str]:
    """Every readable setting below net/ of the calling process's namespace."""
    found = {}
    for path in Path("/proc/sys/net").rglob("*"):
        if not path.is_file() or path.name in ("flush", "nf_conntrack_count", "stable_secret"):
            continue
        try:
            found[str(path)] = path.read_text()
        except OSError:
            continue
    return found


def state(node: Node) -> dict[str, str]:
    """Dumps of all that `Kernel` may touch."""
    dumps = {
        "filter": ["nft", "list", "ruleset"],
        "links": ["ip", "-d", "link"],
        "addresses": ["ip", "-br", "address"],
        "routes": ["ip", "route", "show", "table", "all"],
        "routes6": ["ip", "-6", "route", "show", "table", "all"],
        "managed": ["ip", "neigh", "show", "nud", "permanent"],
    }
    found = {name: node.run(argv, check=True).stdout for name, argv in dumps.items()}
    return found | node.call(sysctls)
