"""What the exec of an upgrade does to rights; tried in processes of their own, since none comes
back."""

import json
import os
import subprocess
import sys

import pytest

from ribcage.controlplane.supervisor.rights import MOST_FILTERS

AFTER = """
import json
from pathlib import Path
from ribcage.controlplane.supervisor.rights import confine
def said():
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    return {name: found[name].strip() for name in names}
"""
BEFORE = (
    AFTER
    + """
import os, sys
from ribcage.controlplane.supervisor.upgrade.reexec import execute
confine("enforce")
try:
    execute("/nowhere", ["x"])
except OSError:
    pass
os.environ["SAID"] = json.dumps(said())
execute(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
)
RESUMED = (
    AFTER
    + """
import os
confine("enforce")
print(json.dumps([json.loads(os.environ["SAID"]), said()]))
"""
)
AGAIN = (
    AFTER
    + """
from ribcage.controlplane.supervisor.rights import seccomp_filters
for _ in range(40):
    confine("enforce")
print(seccomp_filters())
"""
)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    "become",
    [
        [],
        ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups",
         "--inh-caps=+net_admin,+net_raw,+kill", "--ambient-caps=+net_admin,+net_raw,+kill"],
    ],
    ids=["root", "a user with capabilities"],
)  # fmt: skip
def test_the_supervisor_has_after_the_exec_what_it_had_before(become: list[str]) -> None:
    """Root's capabilities come back by being root's, a plain user's only by inheritance; an exec
    that failed leaves nothing inheritable."""
    run = [*become, sys.executable, "-c", BEFORE, RESUMED]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert before == after
    assert int(before["CapEff"], 16) != 0 and before["Seccomp"] == "2"


def test_lists_of_system_calls_do_not_pile_up_for_ever() -> None:
    """The kernel has room for some hundreds: a router that is upgraded and healed for years must
    not come to the end of it."""
    run = [sys.executable, "-c", AGAIN]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= MOST_FILTERS
