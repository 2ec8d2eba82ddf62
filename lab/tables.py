"""Routing tables of real size: the real ones when they lie at hand, else seeded synthetic ones.

    table = find_table(4)            # RIBCAGE_TABLES, then ../shared/data, then synthetic
    table.lines                      # "prefix/len nexthop-id" in address order
    table.source                     # says which, for the output

A synthetic table follows the prefix-length distribution of a real full table (December 2023):
the lengths decide the shape of a trie and so its speed and size. It does not imitate how real
prefixes nest; benchmarks that matter should be given a real table.
"""

import ipaddress
import lzma
import os
import random
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REAL = {4: "rib4-tier1-2023.txt.xz", 6: "rib6-tier1-2023.txt.xz"}

# Prefixes per length in a full table of a tier-1 network, 2023-12.
LENGTHS4 = {
    8: 16, 9: 13, 10: 38, 11: 103, 12: 299, 13: 581, 14: 1203, 15: 2100, 16: 13490, 17: 8235,
    18: 13798, 19: 24870, 20: 42611, 21: 50750, 22: 108623, 23: 96510, 24: 537698, 25: 20, 26: 3,
    27: 11, 28: 18, 29: 17, 30: 3, 31: 3, 32: 886,
}  # fmt: skip
LENGTHS6 = {
    20: 16, 24: 30, 28: 193, 29: 4371, 30: 650, 31: 284, 32: 22548, 33: 2926, 34: 2603, 35: 1043,
    36: 5996, 37: 880, 38: 1617, 39: 1377, 40: 13418, 41: 903, 42: 2301, 43: 1001, 44: 14365,
    45: 1553, 46: 3039, 47: 3153, 48: 75488, 56: 24, 64: 184, 126: 19, 127: 42, 128: 6,
}  # fmt: skip


@dataclass(slots=True, frozen=True)
class SampleTable:
    """Rows `prefix/len nexthop-id`, sorted; `source` names where they come from."""

    family: int
    lines: list[str]
    source: str


def synthetic(family: int, routes: int, seed: int = 1, nexthops: int = 254) -> SampleTable:
    """`routes` distinct unicast prefixes drawn by length; the same for the same arguments."""
    rng = random.Random(seed)
    lengths = LENGTHS4 if family == 4 else LENGTHS6
    choices, weights = list(lengths), list(accumulate(lengths.values()))
    width = 32 if family == 4 else 128
    rows: set[tuple[int, int]] = set()
    while len(rows) < routes:
        length = choices[bisect(weights, rng.randrange(weights[-1]))]
        if family == 4:
            first = rng.randrange(1, 224)
            if first in (10, 127):
                continue  # private and loopback: labs number their links from 10/8
            address = first << 24 | rng.getrandbits(24)
        else:
            # 2000::/4 less what labs number their links from (2001:db8::/32)
            address = 0x2 << 124 | rng.getrandbits(124)
            if address >> 96 == 0x20010DB8:
                continue
        rows.add((address >> (width - length) << (width - length), length))
    make = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    lines = [
        f"{make(address)}/{length} {rng.randrange(1, nexthops + 1)}"
        for address, length in sorted(rows)
    ]
    return SampleTable(family, lines, f"synthetic, seed {seed}")


def find_table(family: int, routes: int = 100_000, seed: int = 1) -> SampleTable:
    """The real table of `family` when present, else a synthetic one of `routes` rows."""
    named = os.environ.get("RIBCAGE_TABLES")
    folders = [Path(named)] if named else [ROOT.parent / "shared" / "data"]
    for folder in folders:
        path = folder / REAL[family]
        if path.is_file():
            with lzma.open(path, "rt", encoding="ascii") as text:
                return SampleTable(family, text.read().splitlines(), f"real, {path.name}")
    return synthetic(family, routes, seed)
