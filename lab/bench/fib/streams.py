"""The addresses that are looked up: three streams of 2^20, the same for the same seed.

    uniform   over the routed space: a top-level prefix by its size, random host bits
    prefix    a random prefix of the table, random host bits: touches everything
    zipf      Zipf(1.0) over 2^20 flows, each drawn as in `prefix`

Also the pairs: random positions in the table, each withdrawn and announced again. IPv4 addresses
are u32 in this machine's order, IPv6 ones 16 bytes in network order: what the lean entries take.
Pure values; a few seconds of Python for a full table.
"""

from __future__ import annotations

import random
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate

from ribcage.shared._core import ffi

from ribcage.lab.bench.fib.table import ROW_BYTES, Rows

STREAMS = ("uniform", "prefix", "zipf")
ADDRESSES = 1 << 20
PAIRS = 1 << 18
LENGTH_AT: int = ffi.offsetof("struct route_row", "length")


class Prefixes:
    """The table's prefixes as numbers."""

    def __init__(self, table: Rows) -> None:
        self.family = table.family
        self.width = 32 if table.family == 4 else 128
        raw = table.to_bytes()
        self.bases = _first_words(raw) if table.family == 4 else _first_16(raw)
        self.open = [self.width - length for length in raw[LENGTH_AT::ROW_BYTES]]
        """Host bits of each."""

    def tops(self) -> Iterator[int]:
        """Positions of the prefixes that no other covers; a default route covers none here,
        because an address without any other route is not routed space worth looking at."""
        end = -1
        for i, (base, free) in enumerate(zip(self.bases, self.open, strict=True)):
            if base > end and free < self.width:
                end = base + (1 << free) - 1
                yield i

    def draw(self, rng: random.Random, positions: list[int]) -> list[int]:
        """An address below each of these prefixes."""
        bases, free, bits = self.bases, self.open, rng.getrandbits
        return [bases[i] | bits(free[i]) if free[i] else bases[i] for i in positions]


def make_streams(table: Rows, seed: int, count: int = ADDRESSES) -> dict[str, bytes]:
    """Each stream as the bytes of its file."""
    prefixes = Prefixes(table)
    pack = _pack4 if table.family == 4 else _pack6
    makers: dict[str, Callable[[Prefixes, random.Random, int], list[int]]] = {
        "uniform": _uniform,
        "prefix": _prefix,
        "zipf": _zipf,
    }
    return {
        name: pack(makers[name](prefixes, random.Random(f"{seed} {name}"), count))
        for name in STREAMS
    }


def make_pairs(table: Rows, seed: int, count: int = PAIRS) -> bytes:
    rng = random.Random(f"{seed} pairs")
    return array("I", rng.choices(range(table.count), k=count)).tobytes()


def _uniform(prefixes: Prefixes, rng: random.Random, count: int) -> list[int]:
    tops = list(prefixes.tops()) or [0]
    sizes = list(accumulate(1 << prefixes.open[i] for i in tops))
    return prefixes.draw(rng, rng.choices(tops, cum_weights=sizes, k=count))


def _prefix(prefixes: Prefixes, rng: random.Random, count: int) -> list[int]:
    return prefixes.draw(rng, rng.choices(range(len(prefixes.bases)), k=count))


def _zipf(prefixes: Prefixes, rng: random.Random, count: int) -> list[int]:
    flows = _prefix(prefixes, rng, count)
    weights = list(accumulate(1.0 / rank for rank in range(1, count + 1)))
    return rng.choices(flows, cum_weights=weights, k=count)


def _pack4(addresses: list[int]) -> bytes:
    return array("I", addresses).tobytes()


def _pack6(addresses: list[int]) -> bytes:
    return b"".join(address.to_bytes(16) for address in addresses)


def _first_words(raw: bytes) -> list[int]:
    """The first four bytes of every row as numbers: a million in some tens of milliseconds."""
    words = array("I", memoryview(raw).cast("I")[:: ROW_BYTES // 4])
    if sys.byteorder == "little":
        words.byteswap()
    return words.tolist()


def _first_16(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[at : at + 16]) for at in range(0, len(raw), ROW_BYTES)]
