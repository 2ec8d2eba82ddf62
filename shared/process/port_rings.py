"""A port with its rings as the channel carries it: control asks, supervisor opens, workers map.

    PortRings(1, "eth1", 4, "port", 256, 69632).to_json()      # port-open, port-add
    PortRings.from_json(message.body)                          # E_PORT for anything else

Values alone; any process.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from ribcage.shared.errors import RibcageError

MAX_PORTS = 32  # FIB_MAX_PORTS
INTERFACE = re.compile(r"[!-.0-~]{1,15}")  # what the kernel allows, without "/"
KINDS = ("port", "host")
UNMAPPABLE = 75
"""Exit status of a worker that cannot map a ring it was handed: the socket has none any more."""


@dataclass(frozen=True, slots=True)
class PortRings:
    """slots x slot_bytes is the memory of one ring; `kind` is "port" or "host"."""

    index: int
    name: str
    ifindex: int
    kind: str
    slots: int
    slot_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "PortRings":
        """E_PORT for anything that is not a port: what comes from a child is checked too."""
        numbers = {
            "index": (0, MAX_PORTS - 1),
            "ifindex": (1, 0x7FFFFFFF),
            "slots": (1, 65536),
            "slot_bytes": (2048, 1 << 20),
        }
        for key, (low, high) in numbers.items():
            value = body.get(key)
            if type(value) is not int or not low <= value <= high:
                raise RibcageError("E_PORT", f"port {key} {value!r:.40} is outside {low}..{high}")
        name, kind = body.get("name"), body.get("kind")
        if not isinstance(name, str) or not INTERFACE.fullmatch(name) or name in (".", ".."):
            raise RibcageError("E_PORT", f"{name!r:.40} is not an interface name")
        if kind not in KINDS:
            raise RibcageError("E_PORT", f"port kind {kind!r:.40} is not one of {KINDS}")
        return cls(body["index"], name, body["ifindex"], kind, body["slots"], body["slot_bytes"])
