"""Reads from /proc what `ps` shows about our processes: rights, maps of our segments.

Whatever cannot be read is None or left out: another user's process keeps its maps to itself.
"""

from pathlib import Path
from typing import Any

SECCOMP = {"0": "none", "1": "strict", "2": "filter"}
# linux/capability.h, in the order of their numbers.
_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = _NAMES.split()
IF_IT_DIES = {
    "guardian": "nobody notices; the supervisor makes a new one",
    "supervisor": "all go on; the guardian's (or your) next one adopts them",
    "control": "forwarding goes on; updates stop until the standby took over",
    "standby": "nobody notices; a new one is made",
    "worker": "the others go on and take its flows until its successor is there",
}
MAX_MAPS = 4 << 20


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a dict; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def capabilities(mask: str | None) -> str | None:
    """`CHOWN,NET_ADMIN`, `none`, or `all`; a number of a kernel newer than this list as CAP_n."""
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


def maps(pid: int, instance: str) -> list[dict[str, str]]:
    """Our shared objects in a process, each with its permissions (`rw-s`), joined by name."""
    found: dict[str, str] = {}
    marks = (f"/ribcage.{instance}.", f"/memfd:ribcage.{instance}.")
    try:
        with Path(f"/proc/{pid}/maps").open(errors="replace") as lines:
            for line in lines.read(MAX_MAPS).splitlines():
                fields = line.split(None, 5)
                if len(fields) == 6 and any(mark in fields[5] for mark in marks):
                    name = fields[5].rpartition("/")[2].removesuffix(" (deleted)")
                    name = name.removeprefix("memfd:")
                    found[name] = _widest(found.get(name, "----"), fields[1])
    except OSError:
        return []
    return [{"object": name, "perms": perms} for name, perms in sorted(found.items())]


def _widest(old: str, new: str) -> str:
    return "".join(a if a != "-" else b for a, b in zip(old, new, strict=False))


def join(row: dict[str, Any], instance: str) -> dict[str, Any]:
    """A row of the supervisor's, with what only /proc knows."""
    pid = row.get("pid") or 0
    about = status(pid) if pid else {}
    seccomp = about.get("Seccomp")
    return {
        **row,
        "caps": capabilities(about.get("CapEff")),
        "seccomp": SECCOMP.get(seccomp, seccomp) if seccomp is not None else None,
        "no_new_privs": about.get("NoNewPrivs") == "1" if about else None,
        "maps": maps(pid, instance) if pid else [],
        "if_it_dies": IF_IT_DIES.get(str(row.get("role")), ""),
    }
