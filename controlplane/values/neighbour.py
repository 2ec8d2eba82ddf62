"""What the kernel knows of one address on a link: a value, by `Hop` in control's tables.

Belongs to the control process; any process may import it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One on-link address. `mac` is None until it is resolved; `since_ns`: resolved since then."""

    mac: bytes | None
    state: str = "none"
    since_ns: int = 0
