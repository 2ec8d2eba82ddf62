"""The workers' counters, read without asking control: stats objects have no name to open them by.

    found = built.r1.call(read_stats, built.router.pid("supervisor"), NAMES, rx)

Not a test. `read_stats` runs inside the router's node; what it calls returns plain values.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ribcage.shared.memory.stats import StatsReader

T = TypeVar("T")


def stats_paths(pid: int) -> dict[str, Path]:
    """The stats objects a process holds, by what /proc calls them."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = str(entry.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
        if link.startswith("/memfd:ribcage.") and ".stats." in link:
            found[link.removeprefix("/memfd:").removesuffix(" (deleted)")] = entry
    return found


def read_stats(pid: int, names: list[str], look: Callable[[StatsReader], T]) -> list[T]:
    """`look` at each of these objects, in this order; `pid` is the supervisor, who has them all."""
    paths, found = stats_paths(pid), []
    for name in names:
        with paths[name].open("rb") as file:
            reader = StatsReader(file.fileno())
        found.append(look(reader))
        reader.close()
    return found
