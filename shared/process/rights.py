"""Rights that a process gives up for good.

    drop_rights(0)            # a worker: no capability, and nothing it executes gets one back
    drop_rights(1 << 12)      # keeps those of the mask

E_RIGHTS when the kernel refuses: the process must not go on. Any process, for itself.
"""

from ribcage.shared._core import lib

from ribcage.shared.refusals import refused


def drop_rights(capabilities: int) -> None:
    """no_new_privs, then every capability but those of the mask."""
    for what, error in (
        ("no_new_privs", lib.sys_no_new_privileges()),
        ("capabilities", lib.sys_drop_capabilities(capabilities)),
    ):
        if error != 0:
            raise refused("drop_rights", error, what=what)
