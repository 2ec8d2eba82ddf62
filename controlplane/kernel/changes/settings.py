"""Sets the sysctls that a router beside the kernel needs, and restores them.

    settings = Settings(journal, log)
    problems = settings.apply(namespace_settings()); settings.apply(port_settings("eth1"))
    problems = restore(journal.settings)            # in undo

The kernel must not forward (it would send every packet a second time), must not learn routes or
addresses from others, and must accept what arrives on an interface its own table would not have
chosen. Every value is journalled before it is changed. A file that does not exist (another
kernel, IPv6 off, a namespace that cannot see it) is skipped with a log line.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.netlink.messages import ALL_INTERFACES, DEFAULT_INTERFACE
from ribcage.shared.process.log import Log

Pair = tuple[str, str]  # path below /proc/sys, value

SYS: Final = Path("/proc/sys")
SWITCH: Final = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
# A write to a switch rewrites these too (devinet.c inet_forward_change, addrconf.c
# addrconf_forward_change), so what they held is journalled before.
FOLLOWERS: Final = {4: "net/ipv4/conf/*/forwarding", 6: "net/ipv6/conf/*/forwarding"}


def namespace_settings() -> list[Pair]:
    """For the whole network namespace, in the order of writing: the switches come first
    because ip_forward = 0 turns conf/all/accept_redirects on (RFC 1122 wants it of a host)."""
    return [
        (SWITCH[4], "0"),
        (SWITCH[6], "0"),
        # rp_filter, send_redirects: the kernel takes the stricter of `all` and the interface.
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/all/accept_redirects", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
    ]


def port_settings(name: str) -> list[Pair]:
    """For one port of the router."""
    v4, v6 = f"net/ipv4/conf/{name}", f"net/ipv6/conf/{name}"
    return [
        (f"{v4}/forwarding", "0"),
        (f"{v4}/rp_filter", "0"),
        (f"{v4}/accept_redirects", "0"),
        (f"{v4}/send_redirects", "0"),
        (f"{v6}/forwarding", "0"),
        (f"{v6}/accept_ra", "0"),
        (f"{v6}/autoconf", "0"),
        (f"{v6}/accept_redirects", "0"),
    ]


def table_sizes(neighbours: int) -> list[tuple[str, int]]:
    """Least values for the kernel's neighbour tables: below gc_thresh1 nothing is collected.
    The files exist in the initial network namespace only; the limits hold for all."""
    sizes = (("gc_thresh3", 4 * neighbours), ("gc_thresh2", 2 * neighbours))
    return [
        (f"net/{family}/neigh/default/{name}", least)
        for family in ("ipv4", "ipv6")
        for name, least in (*sizes, ("gc_thresh1", neighbours))
    ]


class Sysctls:
    """Writes sysctls through the journal. `root` is /proc/sys but in tests."""

    def __init__(self, journal: Journal, log: Log, root: Path = SYS) -> None:
        self._journal = journal
        self._log = log
        self._root = root

    def read(self, name: str) -> str | None:
        """The present value, or None when there is no such setting."""
        try:
            return (self._root / name).read_text().strip()
        except OSError:
            return None

    def apply(self, pairs: Iterable[Pair], fresh: bool = False) -> list[str]:
        """Set each; returns one line for each that could not be set.

        What the journal already holds keeps its first value, but for a port that is `fresh`
        (made anew since): there only the present value is worth going back to.
        """
        wanted = [(name, value) for name, value in pairs if self.read(name) is not None]
        changes = 0
        for name, value in wanted:
            now = self.read(name)
            if now is not None and now != value:
                changes += 1
                self._note(name, now, value, fresh)
                for family, switch in SWITCH.items():
                    if name == switch:
                        self._note_followers(family, value)
            elif fresh:
                self._journal.settings.pop(name, None)
        if changes == 0:
            return []
        self._journal.write()
        return self._write(wanted)

    def _write(self, wanted: list[Pair]) -> list[str]:
        """In the order given, each only where it differs: a switch written before may have
        turned one that was right, and then the way back turns it again by itself."""
        problems = []
        for name, value in wanted:
            try:
                if self.read(name) != value:
                    (self._root / name).write_text(value)
            except OSError as error:
                problems.append(f"sysctl {name.replace('/', '.')}={value}: {error.strerror}")
        return problems

    def raise_to(self, sizes: Iterable[tuple[str, int]]) -> list[str]:
        """Like `apply` for numbers, but never downwards; a refusal is only logged, because a
        container may see these files and not be allowed to write them."""
        pairs = []
        for name, least in sizes:
            now = self.read(name)
            if now is not None and now.isdigit() and int(now) < least:
                pairs.append((name, str(least)))
        for problem in self.apply(pairs):
            self._log("info", "kernel.setting-refused", why=problem)
        return []

    def forwarding_path(self, family: int, ifindex: int, name: str | None) -> str | None:
        """The file behind one forwarding switch of RTM_NEWNETCONF."""
        if ifindex == ALL_INTERFACES:
            return SWITCH[family]
        who = "default" if ifindex == DEFAULT_INTERFACE else name
        return None if who is None else f"net/ipv{family}/conf/{who}/forwarding"

    def switch_off(self, path: str) -> bool | None:
        """Set a forwarding switch that somebody turned on back to 0. None: it is off already.

        What that somebody wants is what `undo` shall leave behind: it becomes the journal's
        first value.
        """
        if self.read(path) in (None, "0"):
            return None
        refused = self.apply([(path, "0")], fresh=True)
        self._write(namespace_settings())  # the switch turned accept_redirects on again
        return not refused

    def _note(self, name: str, now: str, ours: str, fresh: bool) -> None:
        before = now if fresh else self._journal.settings.get(name, (now, ours))[0]
        self._journal.settings[name] = (before, ours)

    def _note_followers(self, family: int, value: str) -> None:
        for path in sorted(self._root.glob(FOLLOWERS[family])):
            name = str(path.relative_to(self._root))
            now = self.read(name)
            if "/all/" not in name and now is not None and now != value:
                self._note(name, now, value, False)


def restore(changed: Mapping[str, tuple[str, str]], root: Path = SYS) -> list[str]:
    """Write back what stands before each value of ours; returns what could not be written.

    A value that is neither ours nor the first one was set by somebody since: it stays, without
    a problem. All are looked at before the first write, because a switch rewrites others; the
    switches are written first for the same reason.
    """
    due: dict[str, str] = {}
    for name, (before, ours) in changed.items():
        try:
            if (root / name).read_text().strip() == ours:
                due[name] = before
        except OSError:
            continue  # the interface is gone, and its settings with it
    problems = []
    for name in sorted(due, key=lambda name: name not in SWITCH.values()):
        try:
            (root / name).write_text(due[name])
        except OSError as error:
            problems.append(f"sysctl {name.replace('/', '.')}={due[name]}: {error.strerror}")
    return problems
