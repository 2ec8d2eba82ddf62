"""Traffic between two nodes of a lab, driven from outside: probes, transfers, a paced stream.

    with Stream(h1, h2, "10.0.2.2", rate=2000) as stream:
        router.kill("control")
    stream.result.lost          # counted by number, 0 is the promise

Thin wrappers around `ribcage.lab.probe.*`, which run inside the nodes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ribcage.lab.namespaces import Node

PROBE = [sys.executable, "-m"]


def probe(node: Node, name: str, *arguments: str, timeout: float = 30.0) -> dict[str, Any]:
    """Run one probe in `node`, return its JSON document; RuntimeError carries its complaint."""
    done = node.run([*PROBE, f"ribcage.lab.probe.{name}", *arguments], timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"probe {name} {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _start(node: Node, name: str, *arguments: str) -> subprocess.Popen[str]:
    return node.popen(
        [*PROBE, f"ribcage.lab.probe.{name}", *arguments],
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
class StreamResult:
    """What the two ends counted; `lost` = sent - received, by number, not by rate."""

    sent: int
    received: int
    duplicates: int
    reordered: int
    longest_gap_ms: float

    @property
    def lost(self) -> int:
        """Packets that were sent and never came."""
        return self.sent - self.received


class Stream:
    """A paced stream of numbered packets for as long as the `with` block runs."""

    def __init__(
        self, sender: Node, receiver: Node, address: str, rate: float = 2000, port: int = 9000
    ) -> None:
        self._nodes = (sender, receiver)
        self._address, self._rate, self._port = address, rate, port
        self._sender: subprocess.Popen[str] | None = None
        self._receiver: subprocess.Popen[str] | None = None
        self._result: StreamResult | None = None

    def __enter__(self) -> Self:
        bind = "::" if ":" in self._address else "0.0.0.0"
        port = ("--port", str(self._port))
        self._receiver = _start(self._nodes[1], "stream", "receive", "--bind", bind, *port)
        _await_ready(self._receiver)
        rate = ("--rate", str(self._rate))
        self._sender = _start(self._nodes[0], "stream", "send", self._address, *port, *rate)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._sender is not None and self._receiver is not None
        try:
            sent = json.loads(self._sender.communicate(timeout=10)[0])
            got = json.loads(self._receiver.communicate(timeout=10)[0])
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
        )

    @property
    def result(self) -> StreamResult:
        """The counts, once the block has ended."""
        assert self._result is not None, "the stream is still running"
        return self._result
