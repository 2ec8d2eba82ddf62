"""The facts that every figure needs: the machine, its load, where the run was pinned."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any

from ribcage.lab.tables import ROOT


def machine() -> dict[str, Any]:
    """Facts that stay the same during a run."""
    info = _read("/proc/cpuinfo")
    flags = _field(info, "flags").split()
    return {
        "cpu": _field(info, "model name") or platform.machine(),
        "cpus": os.cpu_count(),
        "allowed_cpus": sorted(os.sched_getaffinity(0)),
        "caches": _caches(),
        "avx512": "avx512f" in flags and "avx512_vpopcntdq" in flags,
        "virtual": "hypervisor" in flags,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "shmem_huge_pages": _chosen(_read("/sys/kernel/mm/transparent_hugepage/shmem_enabled")),
        "memory_kb": int((_field(_read("/proc/meminfo"), "MemTotal") or "0 kB").split()[0]),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": _first_line([*shlex.split(os.environ.get("CC", "cc")), "--version"]),
        "source": _first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
    }


def load() -> dict[str, Any]:
    """What else the machine does: taken before and after a run."""
    ticks = [int(word) for word in _read("/proc/stat").split("\n")[0].split()[1:9]]
    return {"average": os.getloadavg()[0], "busy_ticks": sum(ticks) - ticks[3] - ticks[4],
            "steal_ticks": ticks[7], "ticks": sum(ticks)}  # fmt: skip


def disturbance(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The shares of the run that went to work of any kind, and to another guest."""
    total = max(1, after["ticks"] - before["ticks"])
    return {
        "load_before": before["average"],
        "load_after": after["average"],
        "busy": round((after["busy_ticks"] - before["busy_ticks"]) / total, 4),
        "steal": round((after["steal_ticks"] - before["steal_ticks"]) / total, 4),
    }


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind = _read(index / "level").strip(), _read(index / "type").strip()
        if kind != "Instruction":
            found[f"L{level}"] = _read(index / "size").strip()
    return found


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _chosen(text: str) -> str | None:
    """The word in brackets."""
    return text.partition("[")[2].partition("]")[0] or None


def _first_line(line: list[str]) -> str | None:
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None
