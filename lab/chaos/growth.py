"""Whether memory, descriptors and numbers of a router's processes grow without end.

    growth = Growth(rig, every=60.0)
    growth.look()                  # as often as one likes; takes a sample when one is due
    growth.to_json()["bounded"]

A process that was replaced begins anew, so what is followed is a role, not a pid. The first third
of a run is warming up; after it the median of the last samples may exceed the median of the first
by a share and a margin.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

from ribcage.lab.chaos.rig import Rig
from ribcage.shared.errors import RibcageError

SHARE, MARGIN_KB, MARGIN_FDS = 0.2, 8192, 16
KEPT = 1500  # samples: a day of minutes


class Growth:
    """See the module's text."""

    def __init__(self, rig: Rig, every: float) -> None:
        self._rig, self._every, self._due = rig, every, time.monotonic() + every
        self.samples: list[dict[str, Any]] = []
        self._origin = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._every
        processes = {}
        for actor in self._rig.cast.everybody():
            facts = usage(actor.pid)
            if facts is not None:
                processes[actor.name] = facts
        sample: dict[str, Any] = {"t_s": round(now - self._origin, 1), "processes": processes}
        try:
            published = self._rig.call("fib.show")
            sample["generation"] = published["published"]["generation"]
            sample["rib_rows"] = published["rib"]["rows"]
            sample["memory"] = published["memory"]
        except (RibcageError, KeyError):
            sample["generation"] = None  # nobody answered just then
        self.samples = [*self.samples[-KEPT:], sample]

    def to_json(self) -> dict[str, Any]:
        grown = self._grown()
        return {"samples": self.samples, "grown": grown, "bounded": not grown}

    def _grown(self) -> list[str]:
        warm = self.samples[len(self.samples) // 3 :]
        if len(warm) < 6:
            return []  # too few to say anything
        third = len(warm) // 3
        found = []
        for name in sorted({name for sample in warm for name in sample["processes"]}):
            for key, margin in (("rss_kb", MARGIN_KB), ("fds", MARGIN_FDS)):
                first, last = (
                    [s["processes"][name][key] for s in part if name in s["processes"]]
                    for part in (warm[:third], warm[-third:])
                )
                if not first or not last:
                    continue
                a, b = statistics.median(first), statistics.median(last)
                if b > a * (1 + SHARE) + margin:
                    found.append(f"{name}: {key} from {a:g} to {b:g}")
        return found


def usage(pid: int) -> dict[str, int] | None:
    """Private memory and open descriptors; None: the process is gone or not ours to look at."""
    try:
        fields = Path(f"/proc/{pid}/status").read_text().split("\n")
        pairs = dict(line.split(":", 1) for line in fields if ":" in line)
        anonymous = int(pairs["RssAnon"].split()[0])
        return {"rss_kb": anonymous, "fds": len(os.listdir(f"/proc/{pid}/fd"))}  # noqa: PTH208
    except (OSError, KeyError, ValueError):
        return None
