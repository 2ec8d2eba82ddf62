"""Traffic between two nodes of a lab, driven from outside: probes, transfers, a paced stream.

    with Stream(h1, h2, "10.0.2.2", rate=2000, flows=16) as stream:
        stream.carried(0.3)
        router.kill("control")
        stream.carried(0.3)
    stream.result.lost          # counted by number, 0 is the promise

Thin wrappers around `ribcage.lab.probe.*`, which run inside the nodes.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ribcage.lab.topology.namespaces import Node
from ribcage.shared.process.python import python


def probe(node: Node, name: str, *arguments: str, timeout: float = 30.0) -> dict[str, Any]:
    """Run one probe in `node`, return its JSON document; RuntimeError carries its complaint."""
    done = node.run(python(f"ribcage.lab.probe.{name}", *arguments), timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"probe {name} {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _start(node: Node, name: str, *arguments: str) -> subprocess.Popen[str]:
    return node.popen(
        python(f"ribcage.lab.probe.{name}", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line.strip() != "ready":
        raise RuntimeError(f"probe did not start: {process.communicate()[1].strip()[-500:]}")


def transfer(client: Node, server: Node, address: str, *options: str) -> dict[str, Any]:
    """A TCP exchange (`--mib N`) or flood (`--seconds S`); {"client": ..., "server": ...}."""
    bind = "::" if ":" in address else "0.0.0.0"
    listener = _start(server, "transfer", "serve", "--bind", bind)
    try:
        _await_ready(listener)
        ours = probe(client, "transfer", "fetch", address, *options, timeout=60)
        out, _ = listener.communicate(timeout=10)
        return {"client": ours, "server": json.loads(out)}
    finally:
        if listener.poll() is None:
            listener.kill()
            listener.wait()


@dataclass(slots=True)
class FlowResult:
    """One source port's share. `pauses`: [begin, end] in monotonic ns of the gaps worth telling."""

    sent: int
    received: int
    longest_gap_ms: float
    pauses: list[tuple[int, int]]

    @property
    def lost(self) -> int:
        """Packets of this flow that never came."""
        return self.sent - self.received


@dataclass(slots=True)
class StreamResult:
    """What the two ends counted; `lost` = sent - received, by number, not by rate."""

    sent: int
    received: int
    duplicates: int
    reordered: int
    longest_gap_ms: float
    flows: dict[int, FlowResult] = field(default_factory=dict)  # by source port
    circumstances: str = ""  # what the machine did meanwhile, for who asks where packets went

    @property
    def lost(self) -> int:
        """Packets that were sent and never came."""
        return self.sent - self.received


class Stream:
    """A paced stream of numbered packets for as long as the `with` block runs.

    `rate` is packets a second over all `flows`, which take turns. Packets that are missing at the
    end are waited for `linger` seconds.
    """

    def __init__(
        self,
        sender: Node,
        receiver: Node,
        address: str,
        rate: float = 2000,
        port: int = 9000,
        flows: int = 1,
        linger: float = 5.0,
    ) -> None:
        self._nodes = (sender, receiver)
        self._address, self._rate, self._port, self._flows = address, rate, port, flows
        self._linger = linger
        self._sender: subprocess.Popen[str] | None = None
        self._receiver: subprocess.Popen[str] | None = None
        self._result: StreamResult | None = None
        self._steal = _steal()

    def __enter__(self) -> Self:
        bind = "::" if ":" in self._address else "0.0.0.0"
        port = ("--port", str(self._port))
        where = ("--bind", bind, *port, "--linger", str(self._linger))
        self._receiver = _start(self._nodes[1], "stream", "receive", *where)
        _await_ready(self._receiver)
        rate = ("--rate", str(self._rate), "--flows", str(self._flows))
        self._sender = _start(self._nodes[0], "stream", "send", self._address, *port, *rate)
        _await_ready(self._sender)
        return self

    def carried(self, seconds: float) -> None:
        """Let the stream run: traffic before and after what is done to the router under it."""
        time.sleep(seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._sender is not None and self._receiver is not None
        try:
            sent = json.loads(self._sender.communicate(timeout=20)[0])
            told = f"{sent['sent']}\n"
            got = json.loads(self._receiver.communicate(told, timeout=20)[0])
        finally:
            for process in (self._sender, self._receiver):
                if process.poll() is None:
                    process.kill()
                    process.wait()
        self._result = StreamResult(
            sent["sent"],
            got["received"],
            got["duplicates"],
            got["reordered"],
            got["longest_gap_ms"],
            {int(port): _flow(sent, got, port) for port in sent["flows"]},
            f"sender late by {sent['late_ms']} ms at most, receiver's socket overflowed"
            f" {got['overflows']} times, {_steal() - self._steal} ticks of CPU stolen, first"
            f" missing {got['missing_first']}",
        )

    @property
    def result(self) -> StreamResult:
        """The counts, once the block has ended."""
        assert self._result is not None, "the stream is still running"
        return self._result


def _steal() -> int:
    """Ticks of all CPUs that the hypervisor gave to others (proc(5)); 0 where nobody says."""
    try:
        return int(Path("/proc/stat").read_text().split("\n")[0].split()[8])
    except (OSError, IndexError, ValueError):
        return 0


def _flow(sent: dict[str, Any], got: dict[str, Any], port: str) -> FlowResult:
    seen = got["flows"].get(port, {"received": 0, "longest_gap_ms": 0.0, "pauses": []})
    return FlowResult(
        sent["flows"][port],
        seen["received"],
        seen["longest_gap_ms"],
        [(begin, end) for begin, end in seen["pauses"]],
    )
