"""Joins a row of the supervisor's `ps` with what /proc tells everybody.

What only the supervisor may read (maps and descriptors of processes of other users) it has read
itself; where its row does not say, we try: a router of a plain user is all one user's.
"""

from typing import Any

from ribcage.shared.process import proc

IF_IT_DIES = {
    "guardian": "nobody notices; the supervisor makes a new one",
    "supervisor": "all go on; the guardian's (or your) next one adopts them",
    "control": "forwarding goes on; updates stop until the standby took over",
    "standby": "nobody notices; a new one is made",
    "worker": "the others go on and take its flows until its successor is there",
}


def join(row: dict[str, Any], instance: str) -> dict[str, Any]:
    """A row for `process.list`; `maps` is None when nobody of ours may read them."""
    pid = row.get("pid") or 0
    about = proc.status(pid) if pid else {}
    mapped = row["maps"] if row.get("maps") is not None else proc.maps(pid, instance)
    return {
        **row,
        "caps": proc.capabilities(about.get("CapEff")),
        "seccomp": proc.seccomp(about),
        "no_new_privs": about.get("NoNewPrivs") == "1" if about else None,
        "maps": mapped if pid else [],
        "if_it_dies": IF_IT_DIES.get(str(row.get("role")), ""),
    }
