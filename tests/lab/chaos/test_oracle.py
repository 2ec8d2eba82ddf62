"""The oracle: what may be in force between two moments, with answers and without."""

from ribcage.lab.chaos.oracle import Possible, allowed


def test_a_change_may_be_in_force_from_its_command_and_must_be_from_its_acknowledgement() -> None:
    """Old and new while it is asked for, new alone afterwards, old alone before."""
    prefix = Possible(0, 1)
    prefix.asked(100, 2)
    assert prefix.between(50, 90) == {1}
    assert prefix.between(110, 120) == {1, 2}
    prefix.confirmed(150, 2)
    assert prefix.between(110, 120) == {1, 2}
    assert prefix.between(151, 160) == {2}
    assert prefix.between(140, 300) == {1, 2}


def test_a_command_without_an_answer_leaves_both_until_a_later_one_is_acknowledged() -> None:
    """A router that died may have done it, or not."""
    prefix = Possible(0, 1)
    prefix.asked(100, 2)
    assert prefix.between(5000, 5001) == {1, 2}
    prefix.asked(6000, 3)
    prefix.confirmed(6100, 3)
    assert prefix.between(6200, 6300) == {3}
    assert prefix.between(6050, 6060) == {1, 2, 3}


def test_what_is_forgotten_is_only_what_nobody_asks_for_any_more() -> None:
    """The past before a moment goes, the present stays."""
    prefix = Possible(0, 1)
    prefix.asked(100, 2)
    prefix.confirmed(150, 2)
    prefix.forget(200)
    assert prefix.between(0, 300) == {2}


def test_a_packet_follows_the_moved_prefix_else_its_static_route() -> None:
    """None: withdrawn; a next hop in doubt may be given up for the covering route."""
    moved = Possible(0, 2)
    assert allowed(moved, 1, 10, 20, ()) == {2}
    assert allowed(moved, 1, 10, 20, (2,)) == {1, 2}
    moved.asked(30, None)
    moved.confirmed(40, None)
    assert allowed(moved, 1, 50, 60, ()) == {1}
    assert allowed(moved, 1, 35, 60, ()) == {1, 2}
