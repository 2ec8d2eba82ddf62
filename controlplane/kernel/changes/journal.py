"""The undo journal: records on disk what this instance changes in the kernel, before it does.

    journal = Journal.open(names.undo_file, "r1")
    journal.settings["net/ipv4/ip_forward"] = ("1", "0")
    journal.write()
    ...change it...

A JSON file replaced by rename, so that a reader sees the whole of the old or of the new one, and
so that `undo` works however control died. Not synced to disk: a crash of the machine takes the
changes with it, and the boot id in the file says that it is void. It is void too for another
network namespace. Written by control alone; read by control's successor and by `undo`.
"""

import json
import os
import re
import stat
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any, Final

from ribcage.shared.addresses import Address, Interface, mac_of, mac_text
from ribcage.shared.errors import RibcageError

VERSION: Final = 1
MAX_BYTES: Final = 4 << 20
# What reading a file that is no journal may meet.
BROKEN: Final = (LookupError, TypeError, AttributeError, ValueError, RecursionError, RibcageError)


# The file is control's, and whoever undoes may be root: nothing is written to the kernel, or into
# nft's rules, because a file says so that is not of this form.
_DEVICE: Final = r"(?!\.{1,2}(?:/|$))[^/\s\"\\\x00-\x1f]{1,15}"
_SETTING: Final = re.compile(
    rf"net/ipv4/(ip_forward|conf/{_DEVICE}/"
    r"(forwarding|rp_filter|accept_redirects|send_redirects|accept_local|arp_[a-z]{3,12}))"
    rf"|net/ipv6/conf/{_DEVICE}/(forwarding|accept_ra|autoconf|accept_redirects|disable_ipv6"
    r"|addr_gen_mode|proxy_ndp)"
    r"|net/ipv[46]/neigh/default/gc_thresh[123]"
)
_VALUE: Final = re.compile(r"-?[0-9]{1,10}")
_TABLE: Final = re.compile(r"ribcage_[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_LINK: Final = re.compile(_DEVICE)


def _formed(form: re.Pattern[str], text: object, what: str) -> str:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ValueError(f"{what} {text!r:.80} is nothing we change")
    return text


def namespace_id() -> str:
    """This boot and this network namespace as one word."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/net').stat().st_ino}"


def link_mac(link: Any) -> bytes:
    """The MAC address in a link message of pyroute2; empty where the link has none."""
    try:
        return mac_of(link.get("address") or "")
    except RibcageError:
        return b""


@dataclass(slots=True)
class PortState:
    """Link attributes of one port that were changed: pairs of (before, ours), or None."""

    ifindex: int
    mtu: tuple[int, int] | None = None
    up: tuple[bool, bool] | None = None


@dataclass(slots=True)
class Journal:
    """Everything to take back. Change the fields, `write()`, and only then change the kernel.

    settings: path below /proc/sys -> (before, ours).  tables: nft tables of the netdev family.
    links: interfaces made by us -> their MAC, by which undo knows them.  addresses: (interface
    name, own address).  managed: (interface name, address) of managed neighbours.  metrics: family
    -> metric of the default route out of rc-host (gone with its link, so only the successor needs
    it). In the file addresses and MACs are text.
    """

    path: Path
    instance: str
    namespace: str = ""
    settings: dict[str, tuple[str, str]] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    links: dict[str, bytes] = field(default_factory=dict)
    ports: dict[str, PortState] = field(default_factory=dict)
    addresses: set[tuple[str, Interface]] = field(default_factory=set)
    managed: set[tuple[str, Address]] = field(default_factory=set)
    metrics: dict[int, int] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, instance: str) -> "Journal":
        """The journal of this instance in this namespace: a predecessor's, or an empty one.

        A file of another boot or namespace, or one that is not a journal, is put aside as
        `NAME.void`: its changes are out of reach, and its text may still help somebody.
        """
        here = namespace_id()
        try:
            found = cls.load(path)
        except FileNotFoundError:
            found = None
        except ValueError:
            found = None
            path.replace(path.with_suffix(".void"))
        if found is not None and found.namespace == here:
            found.instance = instance
            return found
        if found is not None:
            path.replace(path.with_suffix(".void"))
        return cls(path, instance, here)

    @classmethod
    def load(cls, path: Path) -> "Journal":
        """Read the file. FileNotFoundError, or ValueError that says what is wrong with it."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{path}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)  # a folder could not even become a stream
            raise ValueError(f"{path}: not a file")
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"{path}: longer than {MAX_BYTES} bytes, not an undo journal")
        try:
            return cls._from_json(path, json.loads(data))
        except BROKEN as error:
            raise ValueError(f"{path}: not an undo journal: {error!r}") from error

    @classmethod
    def _from_json(cls, path: Path, text: Any) -> "Journal":
        if text["version"] != VERSION:
            raise ValueError(f"version {text['version']}, this build reads {VERSION}")
        return cls(
            path,
            str(text["instance"]),
            str(text["namespace"]),
            {
                _formed(_SETTING, name, "setting"): (
                    _formed(_VALUE, before, "value"),
                    _formed(_VALUE, ours, "value"),
                )
                for name, (before, ours) in text["settings"].items()
            },
            [_formed(_TABLE, table, "table") for table in text["tables"]],
            {_formed(_LINK, name, "link"): mac_of(mac) for name, mac in text["links"].items()},
            {
                _formed(_LINK, name, "link"): PortState(
                    int(state["ifindex"]),
                    (int(state["mtu"][0]), int(state["mtu"][1])) if state["mtu"] else None,
                    (bool(state["up"][0]), bool(state["up"][1])) if state["up"] else None,
                )
                for name, state in text["ports"].items()
            },
            {(_formed(_LINK, name, "link"), ip_interface(own)) for name, own in text["addresses"]},
            {(_formed(_LINK, name, "link"), ip_address(one)) for name, one in text["managed"]},
            {int(family): int(metric) for family, metric in text["metrics"].items()},
        )

    @property
    def empty(self) -> bool:
        """Nothing is left to take back."""
        return not (
            self.settings
            or self.tables
            or self.links
            or self.ports
            or self.addresses
            or self.managed
        )

    def write(self) -> None:
        """Replace the file. OSError when the disk refuses: then do not make the change."""
        ports = {
            name: {"ifindex": state.ifindex, "mtu": state.mtu, "up": state.up}
            for name, state in self.ports.items()
        }
        text = {
            "version": VERSION,
            "instance": self.instance,
            "namespace": self.namespace,
            "settings": self.settings,
            "tables": self.tables,
            "links": {name: mac_text(mac) for name, mac in self.links.items()},
            "ports": ports,
            "addresses": sorted([name, own.with_prefixlen] for name, own in self.addresses),
            "managed": sorted([name, str(address)] for name, address in self.managed),
            "metrics": self.metrics,
        }
        part = self.path.with_suffix(".part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(part, flags, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                json.dump(text, stream, indent=1)
            part.replace(self.path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Nothing is left to undo, nor what a death in the middle of a writing left."""
        self.path.with_suffix(".part").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
