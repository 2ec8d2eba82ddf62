"""Takes back everything the undo journal holds, with control alive or long dead.

    problems = undo(names.undo_file)      # [] : the kernel is as it was before the router

Run by control when it stops in order, and as a process of its own (`roles undo RUN_DIR`) by the
supervisor after control has died. Needs the rights control had and its network namespace; no
event loop may run in the calling thread. Only what is still as we left it is changed: what
somebody else has altered since is theirs. Entries that cannot be taken back stay in the file, so
that a second run tries again; when none is left the file is removed.

Also the way back of a single port, when a reload takes it out of the configuration.
"""

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ribcage.controlplane.kernel.changes import filter as transit
from ribcage.controlplane.kernel.changes.journal import Journal, PortState, link_mac, namespace_id
from ribcage.controlplane.kernel.changes.settings import restore
from ribcage.controlplane.kernel.netlink.messages import IFF_UP, resolve_request
from ribcage.controlplane.kernel.netlink.monitor import open_socket
from ribcage.shared.addresses import Interface
from ribcage.shared.process.rights import Rights, mask_of

if TYPE_CHECKING:
    from pyroute2 import IPRoute

# The object is gone already, which is all we want.
ABSENT: Final = {errno.ENODEV, errno.ENOENT, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENXIO}


def undo_as_control(path: Path) -> list[str]:
    """`undo` by root with the user and the rights of whoever wrote the journal: for a program of
    its own. What stands in the file is then as trusted as its writer was, and no more."""
    import pyroute2  # while it may still be read  # noqa: F401

    try:
        owner = path.lstat().st_uid
    except OSError:
        return []
    if os.geteuid() == 0 and owner != 0:
        kept = mask_of("NET_ADMIN", "NET_RAW")
        Rights(owner, owner, capabilities=kept, ambient=mask_of("NET_ADMIN")).take()
    return undo(path)


def undo(path: Path) -> list[str]:
    """Undo the journal at `path`. Returns problems, one line each; a missing file is none."""
    try:
        journal = Journal.load(path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        return [str(error)]
    here = namespace_id()
    if journal.namespace != here:
        if journal.namespace.split("/")[0] != here.split("/")[0]:
            journal.remove()  # of another boot: nothing of it exists any more
            return []
        return [
            f"{path}: written in network namespace {journal.namespace.rsplit('/', 1)[1]}, "
            f"this is {here.rsplit('/', 1)[1]}: run undo there"
        ]
    problems: list[str] = []
    # The filter first: from here on the kernel sees everything, whatever fails below.
    for table in list(journal.tables):
        problem = transit.apply_now(transit.removal(table))
        if problem is None:
            journal.tables.remove(table)
        else:
            problems.append(problem)
    _release_managed(journal)
    if journal.links or journal.addresses or journal.ports:
        from pyroute2 import IPRoute  # 0.2 s, and often there is nothing for it to do

        with IPRoute() as route:
            problems += _remove_links(journal, route)
            problems += revert_addresses(journal, journal.addresses, route)
            for name in list(journal.ports):
                problems += revert_port(journal, name, route)
    refused = restore(journal.settings)
    if not refused:
        journal.settings.clear()
    problems += refused
    if journal.empty:
        journal.remove()
    else:
        journal.write()
    return problems


def revert_addresses(
    journal: Journal, addresses: Iterable[tuple[str, Interface]], route: "IPRoute"
) -> list[str]:
    """Delete addresses that we added; changes `journal` and leaves writing it to the caller."""
    problems = []
    for name, own in sorted(addresses, key=str):

        def remove(index: int, own: Interface = own) -> None:
            length = own.network.prefixlen
            route.addr("del", index=index, address=str(own.ip), prefixlen=length)

        problem = _attempt(f"address {own} of {name}", remove, name)
        if problem is None:
            journal.addresses.discard((name, own))
        else:
            problems.append(problem)
    return problems


def revert_port(journal: Journal, name: str, route: "IPRoute") -> list[str]:
    """Give a port its MTU and its administrative state back, where they are still ours."""
    state = journal.ports[name]
    problem = _attempt(f"port {name}", lambda index: _revert_link(index, state, route), name)
    if problem is None:
        del journal.ports[name]
        return []
    return [problem]


def _revert_link(index: int, state: PortState, route: "IPRoute") -> None:
    if index != state.ifindex:
        return  # made anew since, with values of its own
    (link,) = route.get_links(index)
    if state.mtu is not None and link.get("mtu") == state.mtu[1]:
        route.link("set", index=index, mtu=state.mtu[0])
    if state.up is not None and bool(link["flags"] & IFF_UP) == state.up[1]:
        route.link("set", index=index, state="up" if state.up[0] else "down")


def _remove_links(journal: Journal, route: "IPRoute") -> list[str]:
    problems = []
    for name, mac in list(journal.links.items()):

        def remove(index: int, mac: bytes = mac) -> None:
            (link,) = route.get_links(index)
            if link_mac(link) == mac:  # else somebody else's link of the same name
                route.link("del", index=index)

        problem = _attempt(f"link {name}", remove, name)
        if problem is None:
            del journal.links[name]
        else:
            problems.append(problem)
    return problems


def _release_managed(journal: Journal) -> None:
    """Let managed neighbours age like others. One that is refused is gone with its link."""
    if not journal.managed:
        return
    with open_socket() as netlink:
        for name, address in journal.managed:
            try:
                index = _index(name)
                netlink.send(resolve_request(index, address, managed=False))
            except OSError:
                continue
    journal.managed.clear()


def _index(name: str) -> int:
    """ENODEV for a link that is gone: the call itself says no more than that it failed."""
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name) from error


def _attempt(what: str, action: Any, name: str) -> str | None:
    """Run action(ifindex of `name`); None when done or nothing is there, else the problem."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        action(_index(name))
    except NetlinkError as error:
        return None if error.code in ABSENT else f"{what}: {os.strerror(error.code)}"
    except OSError as error:
        return None if error.errno in ABSENT else f"{what}: {error.strerror}"
    return None
