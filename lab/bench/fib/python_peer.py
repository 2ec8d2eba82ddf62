"""Two prefix tries for Python as contestants, obeying the commands of harness.h.

    python -m ribcage.lab.bench.fib.python_peer pytricia|py-radix FAMILY FOLDER

They take addresses as text, which is part of what they cost; the texts are made before the clock
starts. A lookup takes about a microsecond, so they look up the first 16,384 of a stream.
"""

from __future__ import annotations

import importlib
import json
import resource
import struct
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

SAMPLE = 16384
ROW = struct.Struct("16sBB2xII4x")  # struct route_row: prefix, length, family, metric, nexthop
MODULES = {"pytricia": "pytricia", "py-radix": "radix"}


class Pytricia:
    def __init__(self, family: int) -> None:
        pytricia = importlib.import_module(MODULES["pytricia"])

        self.trie = pytricia.PyTricia(32 if family == 4 else 128)
        self.lookup: Callable[[str], int] = lambda address: self.trie.get(address, 0)

    def change(self, prefix: str, nexthop: int) -> None:
        if nexthop:
            self.trie[prefix] = nexthop
        elif self.trie.has_key(prefix):
            del self.trie[prefix]


class PyRadix:
    def __init__(self, family: int) -> None:
        radix = importlib.import_module(MODULES["py-radix"])

        self.trie = radix.Radix()
        self.lookup = self._lookup

    def _lookup(self, address: str) -> int:
        node = self.trie.search_best(address)
        return node.data["nexthop"] if node is not None else 0

    def change(self, prefix: str, nexthop: int) -> None:
        if nexthop:
            self.trie.add(prefix).data["nexthop"] = nexthop
        elif self.trie.search_exact(prefix) is not None:
            self.trie.delete(prefix)


class PythonPeer:
    """The commands of the harness over one of the two."""

    def __init__(self, name: str, family: int, folder: Path) -> None:
        self.family = family
        self.folder = folder
        self.trie: Any = (Pytricia if name == "pytricia" else PyRadix)(family)
        self.rows = self._rows("rows.bin")
        self.updates = self._rows("updates.bin")
        pairs = folder / "pairs.bin"
        self.pairs = memoryview(pairs.read_bytes()).cast("I") if pairs.is_file() else None
        self.loaded = dict(self.rows)
        self.texts: dict[str, list[str]] = {}

    def _rows(self, name: str) -> list[tuple[str, int]]:
        path = self.folder / name
        if not path.is_file():
            return []
        address: Any = IPv4Address if self.family == 4 else IPv6Address
        size = 4 if self.family == 4 else 16
        return [
            (f"{address(prefix[:size])}/{length}", nexthop)
            for prefix, length, _, _, nexthop in ROW.iter_unpack(path.read_bytes())
        ]

    def _addresses(self, stream: str) -> list[str]:
        if stream not in self.texts:
            self.texts[stream] = self._made(stream)
        return self.texts[stream]

    def _made(self, stream: str) -> list[str]:
        raw = (self.folder / f"stream-{int(stream)}.bin").read_bytes()
        if self.family == 4:
            return [str(IPv4Address(a)) for a in memoryview(raw)[: 4 * SAMPLE].cast("I")]
        cut = range(0, min(len(raw), 16 * SAMPLE), 16)
        return [str(IPv6Address(raw[at : at + 16])) for at in cut]

    def load(self) -> dict[str, Any]:
        began = time.process_time()
        for prefix, nexthop in self.rows:
            self.trie.change(prefix, nexthop)
        return {"seconds": time.process_time() - began}

    def lookup(self, stream: str, batch: str, first: str, count: str) -> dict[str, Any]:
        addresses = self._addresses(stream)
        lookup = self.trie.lookup
        for address in addresses[:1024]:
            lookup(address)
        began = time.process_time()
        for address in addresses:
            lookup(address)
        return {"seconds": time.process_time() - began, "lookups": len(addresses)}

    def check(self, stream: str, count: str) -> dict[str, Any]:
        addresses = self._addresses(stream)[: int(count)]
        total = sum(self.trie.lookup(a) * (2 * i + 1) for i, a in enumerate(addresses))
        return {"sum": total % (1 << 64)}

    def pairs_(self, first: str, count: str, every: str) -> dict[str, Any]:
        assert self.pairs is not None
        n = len(self.pairs)
        chosen = [self.rows[self.pairs[(int(first) + i) % n]] for i in range(int(count))]
        began = time.process_time()
        for prefix, nexthop in chosen:
            self.trie.change(prefix, 0)
            self.trie.change(prefix, nexthop)
        return {"seconds": time.process_time() - began, "updates": len(chosen)}

    def stream(self, every: str) -> dict[str, Any]:
        began = time.process_time()
        for prefix, nexthop in self.updates:
            self.trie.change(prefix, nexthop)
        return {"seconds": time.process_time() - began, "updates": len(self.updates)}

    def restore(self) -> dict[str, Any]:
        for prefix, _ in self.updates:
            self.trie.change(prefix, self.loaded.get(prefix, 0))
        return {}

    def memory(self) -> dict[str, Any]:
        """Of the whole process: these tries have no figure of their own."""
        return {"used": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main() -> None:
    name, family, folder = sys.argv[1:4]
    peer = PythonPeer(name, int(family), Path(folder))
    verbs = {verb: getattr(peer, verb) for verb in
             ("load", "lookup", "check", "stream", "restore", "memory")}  # fmt: skip
    verbs["pairs"] = peer.pairs_
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            return
        try:
            answer = verbs[words[0]](*words[1:])
        except Exception as error:  # the orchestrator shows it and ends the run
            answer = {"error": f"{name}: {type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
