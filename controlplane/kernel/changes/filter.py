"""The transit filter: nftables rules that drop transit frames before the kernel looks them up.

       frame -> driver -> packet sockets (the workers' rings) -> [netdev ingress: here] -> IP stack

A worker has its copy before the rule runs; without the rule the kernel looks every transit packet
up once more, only to drop it because it does not forward: 473 k/s against 1386 k/s at a million
destinations (packet rates of one worker, 60-byte frames, 901,899 routes).

Dropped: IPv4 and IPv6 frames sent to the port's own MAC whose destination is `unicast` to the
kernel, that is, none of its own addresses (`fib` asks its local table, so the rule follows them
by itself and a dead router never cuts the host off). Left alone: everything local, broadcast,
multicast and anycast, ARP, neighbour discovery, other protocols, VLAN-tagged frames, and frames
to other MACs (a macvlan or bridge above the port). On rc-port everything is dropped: what the
host stack sends into rc-host is the workers' alone.
"""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Final

NFT_TIMEOUT: Final = 10.0
KILL_TIMEOUT: Final = 0.5
UNICAST: Final = "fib daddr type unicast"
_TABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# The kernel forbids whitespace and /; a quote would end nft's string.
_DEVICE = re.compile(r'[^\s/"\\\x00-\x1f]{1,15}')


def table_name(instance: str) -> str:
    """The netdev table of an instance. ValueError for a name that nft could misread."""
    if not _TABLE.fullmatch(instance):
        raise ValueError(f"instance name {instance!r} has characters outside A-Za-z0-9_.-")
    return f"ribcage_{instance}"


def removal(table: str) -> str:
    """Rules text that removes the table whether or not it exists."""
    return f"add table netdev {table}\ndelete table netdev {table}\n"


def ruleset(table: str, ports: Iterable[str], host_port: str | None) -> str:
    """Rules text that replaces the table, in one transaction, by a chain for each port."""
    transit = [f"meta pkttype host ether type {kind} {UNICAST} drop" for kind in ("ip", "ip6")]
    chains = [(name, transit) for name in sorted(set(ports))]
    if host_port is not None:
        chains.append((host_port, ["drop"]))
    text = removal(table) + f"table netdev {table} {{\n"
    for number, (name, rules) in enumerate(chains):
        if not _DEVICE.fullmatch(name):
            raise ValueError(f"interface name {name!r} cannot be written in an nft rule")
        body = "".join(f"    {rule}\n" for rule in rules)
        text += (
            f"  chain port{number} {{\n"
            f'    type filter hook ingress device "{name}" priority 0; policy accept;\n'
            f"{body}  }}\n"
        )
    return text + "}\n"


def _nft() -> list[str]:
    # A plain user's PATH on Debian has no sbin.
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which("nft", path=path)
    if found is None:
        raise FileNotFoundError("nft not found: install nftables")
    return [found, "-f", "-"]


async def apply(rules: str) -> str | None:
    """Hand `rules` to nft, all or nothing; None, or why not. 10 ms; never raises OSError.

    nft has ended when this returns or is cancelled, unless the kernel holds even a killed one.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *_nft(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return f"transit filter: {error}"
    try:
        async with asyncio.timeout(NFT_TIMEOUT):
            _, said = await process.communicate(rules.encode())
    except TimeoutError:
        return f"transit filter: nft did not answer within {NFT_TIMEOUT:g} s"
    finally:
        await _end(process)
    return None if process.returncode == 0 else _why(said)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills nft if it still runs: it must not change anything after it was given up."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_TIMEOUT):
            await process.wait()


def apply_now(rules: str) -> str | None:
    """`apply` without an event loop, for undo."""
    try:
        done = subprocess.run(
            _nft(), input=rules.encode(), capture_output=True, timeout=NFT_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"transit filter: {error}"
    return None if done.returncode == 0 else _why(done.stderr)


def _why(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return f"transit filter: nft: {lines[0] if lines else 'failed without a word'}"
