"""The network of a chaos run, as values: who sends what through which port to which sink.

    s1 --- eth1  +----+  eth11 --- k1
                 | r1 |  eth12 --- k2      each sink behind a port and a next hop of its own
    s2 --- eth2  +----+  eth13 --- k3

Every sink takes every destination, so that where a packet arrives says which next hop it took. A
flow has a static route to its home sink, and inside it a prefix that churn moves and withdraws.
Other prefixes carry no packets: they are there to be lost.
"""

import os
from dataclasses import dataclass

INSTANCE = f"chaos-{os.getpid()}"  # titles of processes have it: two runs never mean one another's
SOURCES = 2
SINKS = 3
FLOWS = 12
BYSTANDERS = 48
LOADED = 2000  # routes that nobody changes


@dataclass(frozen=True, slots=True)
class NumberedFlow:
    """One numbered stream: even numbers are IPv4, odd ones IPv6."""

    number: int

    @property
    def family(self) -> int:
        return 6 if self.number % 2 else 4

    @property
    def source(self) -> int:
        return self.number // 2 % SOURCES + 1

    @property
    def home(self) -> int:
        """The sink of the static route."""
        return self.number % SINKS + 1

    @property
    def target(self) -> str:
        n = self.number
        return f"2001:db8:f00:{n:x}::1" if self.family == 6 else f"198.18.{n}.1"

    @property
    def static(self) -> str:
        n = self.number
        return f"2001:db8:f00:{n:x}::/64" if self.family == 6 else f"198.18.{n}.0/24"

    @property
    def moved(self) -> str:
        """The prefix that churn moves."""
        n = self.number
        return f"2001:db8:f00:{n:x}::/80" if self.family == 6 else f"198.18.{n}.0/25"


def flows() -> list[NumberedFlow]:
    return [NumberedFlow(number) for number in range(FLOWS)]


def bystanders() -> list[str]:
    """Prefixes of both families that churn moves, and no packet takes."""
    return [
        f"2001:db8:e00:{n:x}::/64" if n % 4 == 3 else f"198.19.{n}.0/24" for n in range(BYSTANDERS)
    ]


def loaded() -> list[str]:
    """Prefixes of the table that stays as it is."""
    return [f"10.{100 + n // 256}.{n % 256}.0/24" for n in range(LOADED)]


def via(sink: int, family: int) -> str:
    """The next hop that leads to a sink."""
    return f"2001:db8:2:{sink}::2" if family == 6 else f"10.2.{sink}.2"


def sink_of(gateway: str | None) -> int | None:
    """Inverse of `via`."""
    known = {via(sink, family): sink for sink in range(1, SINKS + 1) for family in (4, 6)}
    return known.get(gateway or "")


def source_port(source: int) -> str:
    return f"eth{source}"


def sink_port(sink: int) -> str:
    return f"eth{10 + sink}"


def port_addresses() -> dict[str, tuple[str, str]]:
    """The router's ports and its addresses on them."""
    found = {
        source_port(n): (f"10.1.{n}.1/24", f"2001:db8:1:{n}::1/64") for n in range(1, SOURCES + 1)
    }
    for n in range(1, SINKS + 1):
        found[sink_port(n)] = (f"10.2.{n}.1/24", f"2001:db8:2:{n}::1/64")
    return found


def config(workers: int, orphan_timeout: str = "30s") -> str:
    """The router's file. Small ring slots: no packet here is large, and each ring has room for
    seconds of it and for a worker's share of a flood, should a CPU stand still. A round of the
    audit every half second: what a flipped bit may cost lasts until it comes by."""
    text = f"""\
schema = 1

[router]
name = "{INSTANCE}"
orphan_timeout = "{orphan_timeout}"
teach = true

[management]
max_clients = 128

[workers]
count = {workers}

[fib]
max_routes4 = 20_000
max_routes6 = 5_000
audit = "500ms"

[rings]
slots = 2048
slot_bytes = 4096
"""
    for name, addresses in port_addresses().items():
        words = ", ".join(f'"{address}"' for address in addresses)
        text += f'\n[[interface]]\nname = "{name}"\naddress = [{words}]\n'
    for flow in flows():
        text += f'\n[[route]]\ndst = "{flow.static}"\nvia = "{via(flow.home, flow.family)}"\n'
    return text
