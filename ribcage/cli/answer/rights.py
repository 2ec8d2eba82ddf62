"""What `ribcage ps --rights` prints of each process, and what it means where all are one user."""

from collections.abc import Iterator, Mapping
from typing import Any

from ribcage.cli.answer.tables import hanging

HEAD = 13  # columns of what a value is


def rights_lines(processes: list[dict[str, Any]], width: int | None = None) -> Iterator[str]:
    """A paragraph a process; every value is the kernel's. `width`: of a terminal."""
    for line in _lines(processes):
        head = line[:HEAD] if line.startswith("  ") else ""
        yield from hanging(head, line[len(head) :], width)


def _lines(processes: list[dict[str, Any]]) -> Iterator[str]:
    for one in processes:
        if not one.get("pid"):
            continue
        number = f" {one.get('index')}" if one.get("role") == "worker" else ""
        yield ""
        yield f"{one.get('role')}{number}  pid {one['pid']}"
        known = one.get("rights")
        if not isinstance(known, dict):
            yield "  gone, or not told by the supervisor"
            continue
        yield from _of_one(known)
    if len(_users(processes)) == 1:
        yield ""
        yield "All have one user: only seccomp and capabilities keep them apart (`ribcage doctor`)."


def _users(processes: list[dict[str, Any]]) -> set[int]:
    """Whom workers and control are."""
    wanted = [one.get("rights") for one in processes if one.get("role") in ("control", "worker")]
    return {uid for one in wanted if isinstance(one, dict) for uid in one.get("uids") or ()}


def _of_one(known: Mapping[str, Any]) -> Iterator[str]:
    yield f"  user       uid {_same(known.get('uids'))}, gid {_same(known.get('gids'))}"
    groups = " ".join(map(str, known.get("groups") or ())) or "none"
    yield f"  groups     {groups}"
    yield f"  CapEff     {known.get('cap_eff') or '-'}"
    yield f"  CapBnd     {known.get('cap_bnd') or '-'}"
    if known.get("cap_amb") not in (None, "none"):
        yield f"  CapAmb     {known['cap_amb']} (what a program it starts gets)"
    yield f"  NoNewPrivs {'yes' if known.get('no_new_privs') else 'no'}"
    filters = known.get("seccomp_filters")
    count = f", {filters} in force" if filters else ""
    yield f"  seccomp    {known.get('seccomp') or '-'}{count}"
    yield f"  limits     {_pairs(known.get('limits'))}"
    held = known.get("descriptors")
    yield f"  open       {_pairs(held) if held is not None else known.get('unread') or '-'}"


def _same(numbers: object) -> str:
    """Real, effective, saved, file system: one number when they are."""
    if not isinstance(numbers, list) or not numbers:
        return "-"
    different = set(numbers)
    return str(numbers[0]) if len(different) == 1 else "/".join(map(str, numbers))


def _pairs(found: object) -> str:
    if not isinstance(found, dict):
        return "-"
    return ", ".join(f"{name} {value}" for name, value in found.items()) or "none"
