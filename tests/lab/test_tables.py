"""Synthetic tables: right shape, repeatable, and never in the lab's own address space."""

import ipaddress

import pytest

from ribcage.lab.tables import find_table, synthetic


@pytest.mark.parametrize("family", [4, 6])
def test_a_synthetic_table_is_sorted_valid_and_repeatable(family: int) -> None:
    """The same arguments give the same rows; every row is a canonical prefix and an id."""
    table = synthetic(family, 2000, seed=5)
    assert table == synthetic(family, 2000, seed=5)
    assert table != synthetic(family, 2000, seed=6)
    prefixes = [ipaddress.ip_network(line.split()[0]) for line in table.lines]
    assert len(set(prefixes)) == 2000
    assert prefixes == sorted(prefixes, key=lambda p: (p.network_address, p.prefixlen))
    assert all(1 <= int(line.split()[1]) <= 254 for line in table.lines)


def test_a_synthetic_table_avoids_the_labs_networks() -> None:
    """Hosts of a lab number their links from 10/8 and 2001:db8::/32; no route may cover them."""
    lab4, lab6 = ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")
    for line in synthetic(4, 5000).lines:
        assert not ipaddress.IPv4Network(line.split()[0]).overlaps(lab4)
    for line in synthetic(6, 5000).lines:
        assert not ipaddress.IPv6Network(line.split()[0]).overlaps(lab6)


def test_without_a_real_table_the_source_says_synthetic(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output of the demo and of benchmarks names the table they used."""
    monkeypatch.setenv("RIBCAGE_TABLES", str(tmp_path))
    table = find_table(4, routes=100)
    assert table.source.startswith("synthetic, seed")
    assert len(table.lines) == 100
