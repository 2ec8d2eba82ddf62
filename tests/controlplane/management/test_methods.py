"""The methods by name: what the socket serves, and to whom."""

from types import ModuleType

import pytest

from ribcage.controlplane.management.methods import table
from ribcage.controlplane.management.methods.method import NamedMethod, method
from ribcage.controlplane.management.peer import Role

VIEW = """drops.show explain fib.show fib.verify ipc.show neighbour.list process.list route.get
route.list stats.show system.ping system.story system.version"""
CHANGE = """route.add route.del route.load.abort route.load.begin route.load.chunk
route.load.commit"""
RULE = "fault.inject rib.checkpoint system.reload system.stop system.upgrade"


def test_each_method_needs_the_role_it_always_needed() -> None:
    """Who may change or stop a router is decided here and nowhere else."""
    needed = {one.name: one.role for one in table.methods()}
    for names, role in ((VIEW, Role.VIEWER), (CHANGE, Role.OPERATOR), (RULE, Role.ADMIN)):
        assert {name for name, least in needed.items() if least is role} == set(names.split())


def test_two_methods_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = ModuleType("twice")
    twice.__dict__["ping"] = method("system.ping")(lambda router, call, params: None)
    assert isinstance(twice.__dict__["ping"], NamedMethod)
    monkeypatch.setattr(table, "FILES", (*table.FILES, twice))
    with pytest.raises(AssertionError, match=r"system\.ping"):
        table.serve(None)  # type: ignore[arg-type]
