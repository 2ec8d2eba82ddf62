"""The text handed to nft: one transaction, and no name can break out of it."""

import pytest

from ribcage.controlplane.kernel.changes import filter as transit


def test_the_whole_table_is_replaced_in_one_transaction() -> None:
    """Removal and new table are one text: there is no moment without rules."""
    assert transit.ruleset("ribcage_r1", ["eth1"], "rc-port") == (
        "add table netdev ribcage_r1\n"
        "delete table netdev ribcage_r1\n"
        "table netdev ribcage_r1 {\n"
        "  chain port0 {\n"
        '    type filter hook ingress device "eth1" priority 0; policy accept;\n'
        "    meta pkttype host ether type ip fib daddr type unicast drop\n"
        "    meta pkttype host ether type ip6 fib daddr type unicast drop\n"
        "  }\n"
        "  chain port1 {\n"
        '    type filter hook ingress device "rc-port" priority 0; policy accept;\n'
        "    drop\n"
        "  }\n"
        "}\n"
    )


@pytest.mark.parametrize("name", ['eth"1', "eth\n1", "", "a" * 16, "e\\1", "a b"])
def test_an_interface_name_that_nft_would_misread_is_refused(name: str) -> None:
    """The kernel allows names that would end the quoted string."""
    with pytest.raises(ValueError, match="interface name"):
        transit.ruleset("ribcage_r1", [name], None)


@pytest.mark.parametrize("instance", ["", "a b", "x;y", "-a", 'r"1'])
def test_an_instance_name_that_nft_would_misread_is_refused(instance: str) -> None:
    """The table is named after the instance."""
    with pytest.raises(ValueError, match="instance name"):
        transit.table_name(instance)
