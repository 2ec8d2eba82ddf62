"""Where routes come from: each file turns a plan or a state of the links into wanted routes.

A source is a pure function: it takes values and returns `Wanted` routes (and, where something
cannot be had, `Rejected` ones with the reason). What was wanted before and no longer is, goes
by mark and sweep in the RIB; a source never says "delete".
"""

from dataclasses import dataclass

from ribcage.shared._core import lib

from ribcage.controlplane.values.nexthop import NexthopSet
from ribcage.controlplane.values.topology import Network

SOURCE_CONNECTED: int = lib.SOURCE_CONNECTED
SOURCE_STATIC: int = lib.SOURCE_STATIC
SOURCE_RUNTIME: int = lib.SOURCE_RUNTIME
SOURCE_NEIGHBOUR: int = lib.SOURCE_NEIGHBOUR

SOURCE_NAMES: dict[int, str] = {
    SOURCE_CONNECTED: "connected",
    SOURCE_STATIC: "static",
    SOURCE_RUNTIME: "added",
    SOURCE_NEIGHBOUR: "neighbour",
    lib.SOURCE_KERNEL: "kernel",
    lib.SOURCE_FPM: "fpm",
}
SOURCE_NUMBERS: dict[str, int] = {name: number for number, name in SOURCE_NAMES.items()}
FORMERLY = {"runtime": "added"}  # what requests of older clients say

# Administrative distances, lower wins. A runtime route equals a static one (metric decides,
# then the lower source number: what the file says stays). A resolved host comes last: any
# route that somebody asked for beats what was only overheard.
DISTANCES: dict[int, int] = {
    SOURCE_CONNECTED: 0,
    SOURCE_STATIC: 1,
    SOURCE_RUNTIME: 1,
    SOURCE_NEIGHBOUR: 254,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One route a source wants in the RIB."""

    prefix: Network
    source: int
    nexthops: NexthopSet
    metric: int = 0
    distance: int = 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """One route a source asked for and cannot have now; asked again when a link changes."""

    prefix: str
    source: int
    code: str
    reason: str
