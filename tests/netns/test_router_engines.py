"""The whole router on each lookup engine: the words in the config are the only difference."""

from pathlib import Path

import pytest

from ribcage.lab.topology.namespaces import available
from tests.netns.router_rig import config, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


@pytest.mark.parametrize("engines", [("flat", "interval"), ("multibit", "multibit"),
                                     ("interval", "binary"), ("binary", "binary")])  # fmt: skip
def test_packets_cross_and_a_successor_keeps_the_engine(
    tmp_path: Path, engines: tuple[str, str]
) -> None:
    """`fib show` names the engines of the segment; packets of both families cross, before and
    after control is killed; RIB, FIB and lookups agree."""
    four, six = engines
    words = f'lookup4 = "{four}"\nlookup6 = "{six}"\nmax_routes4 = 1_000\nmax_routes6 = 1_000'
    with rig(tmp_path, config(fib=words)) as r:
        for _ in range(2):
            assert r.router.call("fib.show")["engines"] == {"ipv4": four, "ipv6": six}
            r.echo("10.0.2.2")
            r.echo("2001:db8:2::2")
            r.verified()
            r.standby_ready()
            r.successor("control", 0, r.router.kill("control"))
        r.balanced()
