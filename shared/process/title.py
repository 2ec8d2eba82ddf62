"""What `ps` calls a process of ours: its role and its router, not how Python was started.

    show_as("worker 0", "r1")      # ps -f: "ribcage: worker 0 (r1)"; ps: "ribcage-w0"

Any process, once it knows what it is, and again when that changes (a standby that becomes
control). Standard library and the compiled module only: the supervisor uses it.
"""

from ribcage.shared._core import lib

SHORT = {"supervisor": "super"}  # the kernel keeps 15 characters of the short name


def show_as(role: str, instance: str) -> None:
    """Never fails: a process without a title works as well."""
    short = role.replace("worker ", "w") if role.startswith("worker ") else SHORT.get(role, role)
    lib.sys_set_name(f"ribcage-{short}".encode())
    lib.sys_set_title(f"ribcage: {role} ({instance})".encode())
