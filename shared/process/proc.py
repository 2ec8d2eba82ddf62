"""Reads from /proc what a process may do and what it holds: ids, capabilities, limits, descriptors.

    rights(pid)          # for `ps --rights`: the kernel's word at this moment, not what we meant
    maps(pid, "r1")      # our shared objects, each with its permissions

What may not be read is None, with the reason in `unread`. A process of another user, or one that is
not dumpable, is read by root with CAP_SYS_PTRACE alone: that is the supervisor. Any process.
"""

import os
import re
from pathlib import Path
from typing import Any

from ribcage.shared.process.rights import CAPABILITIES

SECCOMP = {"0": "none", "1": "strict", "2": "filter"}
MAX_MAPS = 4 << 20
MAX_FDS = 20_000
LIMITS = {
    "Max core file size": "core",
    "Max file size": "fsize",
    "Max open files": "nofile",
    "Max processes": "nproc",
    "Max locked memory": "memlock",
}
_LIMIT = re.compile(rf"({'|'.join(LIMITS)})\s+(\w+)\s+(\w+)")


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a dict; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def capabilities(mask: str | None) -> str | None:
    """`CHOWN,NET_ADMIN`, `none`, or `all`; a number of a kernel newer than our list as CAP_n."""
    if mask is None:
        return None
    try:
        number = int(mask, 16)
    except ValueError:
        return None
    if number == 0:
        return "none"
    held = [bit for bit in range(number.bit_length()) if number >> bit & 1]
    if len(held) > 30:
        return "all"
    return ",".join(CAPABILITIES[n] if n < len(CAPABILITIES) else f"CAP_{n}" for n in held)


def seccomp(about: dict[str, str]) -> str | None:
    mode = about.get("Seccomp")
    return None if mode is None else SECCOMP.get(mode, mode)


def maps(pid: int, instance: str) -> list[dict[str, str]] | None:
    """Our shared objects in a process, each with its permissions (`rw-s`), joined by name. None
    when they may not be read."""
    found: dict[str, str] = {}
    try:
        with Path(f"/proc/{pid}/maps").open(errors="replace") as lines:
            text = lines.read(MAX_MAPS)
            if not text:  # opened, but not to be looked into
                return None
            for line in text.splitlines():
                fields = line.split(None, 5)
                if len(fields) == 6 and f"ribcage.{instance}." in fields[5]:
                    name = fields[5].rpartition("/")[2].removesuffix(" (deleted)")
                    found[name] = _widest(found.get(name, "----"), fields[1])
    except OSError:
        return None
    return [{"object": name, "perms": perms} for name, perms in sorted(found.items())]


def _widest(old: str, new: str) -> str:
    return "".join(a if a != "-" else b for a, b in zip(old, new, strict=False))


def limits(pid: int) -> dict[str, str] | None:
    """The soft limits that say something about a process: core, fsize, nofile, ..."""
    try:
        text = Path(f"/proc/{pid}/limits").read_text(errors="replace")
    except OSError:
        return None
    return {LIMITS[found[1]]: found[2] for found in _LIMIT.finditer(text)}


def descriptors(pid: int) -> dict[str, int] | None:
    """How many of each kind: socket, eventfd, memfd, shared memory, file, ..."""
    found: dict[str, int] = {}
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for number, entry in enumerate(entries):
                if number >= MAX_FDS:
                    break
                try:
                    kind = _kind(str(Path(entry.path).readlink()))
                except FileNotFoundError:
                    continue  # closed meanwhile
                found[kind] = found.get(kind, 0) + 1
    except OSError:
        return None
    return dict(sorted(found.items()))


def _kind(target: str) -> str:
    head, colon, _ = target.partition(":")
    if target.startswith("anon_inode:"):
        return target.removeprefix("anon_inode:").strip("[]").removeprefix("inotify_")
    if colon and not target.startswith("/"):
        return head  # socket:[1], pipe:[2]
    for start, kind in (("/memfd:", "memfd"), ("/dev/shm/", "shared memory"), ("/dev/", "device")):
        if target.startswith(start):
            return kind
    return "file"


def rights(pid: int) -> dict[str, Any] | None:
    """Everything `ps --rights` shows; None when the process is gone."""
    about = status(pid)
    if not about:
        return None
    held = descriptors(pid)
    return {
        "uids": _numbers(about.get("Uid")),
        "gids": _numbers(about.get("Gid")),
        "groups": _numbers(about.get("Groups")),
        "cap_eff": capabilities(about.get("CapEff")),
        "cap_bnd": capabilities(about.get("CapBnd")),
        "cap_amb": capabilities(about.get("CapAmb")),
        "no_new_privs": about.get("NoNewPrivs") == "1",
        "seccomp": seccomp(about),
        "seccomp_filters": _number(about.get("Seccomp_filters")),
        "limits": limits(pid),
        "descriptors": held,
        "unread": None if held is not None else "only CAP_SYS_PTRACE may look into it",
    }


def look(pid: int, instance: str) -> dict[str, Any]:
    """Maps and rights, for a row of `ps`: the supervisor's to read, since of processes with users
    of their own nobody else may."""
    return {"maps": maps(pid, instance) if pid else [], "rights": rights(pid) if pid else None}


def _numbers(text: str | None) -> list[int]:
    return [int(word) for word in (text or "").split() if word.isdigit()]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
