"""Makes a fresh FIB segment of the right size.

Use: `make_segment(names.fib, FibParams(max_routes4=...), instance_id)`; FibWriter does it for
control, experiments do it by themselves. The whole size is allocated at once, so that a
full /dev/shm is an error at start. Only one process makes a segment: the name is exclusive.
"""

from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_sync import DEFAULT_STRATEGY, STRATEGIES
from ribcage.shared.memory.identity import SegmentState
from ribcage.shared.memory.segment import HugePages, Mapped, create_segment, remove_segment


@dataclass(frozen=True, slots=True)
class FibParams:
    """What the segment is sized for; see csrc/bank/geometry.c for the formula."""

    max_routes4: int = 1_200_000
    max_routes6: int = 300_000
    max_groups: int = lib.FIB_MAX_GROUPS
    max_adjacencies: int = 16_384
    sync: str = DEFAULT_STRATEGY
    """The strategy, for as long as the segment lives; see csrc/sync/strategy.h."""
    engine4: int = 0
    """Numbers of csrc/engines/table.h; 0: the build's default."""
    engine6: int = 0
    huge_pages: HugePages = HugePages.TRY

    def to_c(self, instance_id: int = 0) -> Any:
        return ffi.new(
            "struct fib_params *",
            {
                "max_routes4": self.max_routes4,
                "max_routes6": self.max_routes6,
                "max_groups": self.max_groups,
                "max_adjacencies": self.max_adjacencies,
                "engine4": self.engine4,
                "engine6": self.engine6,
                "instance_id": instance_id,
                "strategy": STRATEGIES[self.sync],
            },
        )

    def segment_size(self) -> int:
        """Bytes of shared memory; E_FIB_PARAMS when a value is out of range."""
        size = int(lib.fib_segment_size(self.to_c()))
        if size == 0:
            raise RibcageError(
                "E_FIB_PARAMS",
                f"cannot size a FIB for {self}: groups 2..{lib.FIB_MAX_GROUPS}, adjacencies "
                f"2..{lib.FIB_MAX_ADJACENCIES}, at least one route a family, 256 GiB at most, "
                "an engine that serves the family",
                exit_code=Exit.CONFIG,
            )
        return size


def make_segment(name: str, params: FibParams, instance_id: int) -> Mapped:
    """A ready, empty FIB mapped for writing. E_EXISTS, E_SHM_FULL, E_HUGE_PAGES, E_FIB_PARAMS."""
    mapped = create_segment(name, params.segment_size(), huge=params.huge_pages)
    if lib.fib_create(mapped.address, mapped.size, params.to_c(instance_id)) != 0:
        mapped.close()
        remove_segment(name)
        raise RibcageError("E_FIB_PARAMS", f"{name} cannot be formatted for {params}")
    mapped.state = SegmentState.READY
    return mapped
