"""SIGUSR1: the whole router's state in two files, while packets flow."""

import json
import os
import signal
from pathlib import Path

import pytest

from ribcage.lab.probe.traffic import Stream
from ribcage.lab.topology.namespaces import available
from ribcage.lab.topology.router import wait_for
from tests.netns.router_rig import FLOWS, rig

POSSIBLE, REASON = available()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(not POSSIBLE, reason=REASON)]


def test_usr1_dumps_both_views_without_loss(tmp_path: Path) -> None:
    """RIB, FIB, neighbours, IPC and counters of control, processes and ports of the supervisor;
    the log says where; they agree with the commands; forwarding does not notice. An orderly stop
    removes both."""
    with rig(tmp_path) as built:
        with Stream(built.h1, built.h2, "10.0.2.2", flows=FLOWS) as stream:
            stream.carried(0.1)
            os.kill(built.router.pid("supervisor"), signal.SIGUSR1)
            wait_for("both dumps", lambda: len(built.log_lines("dump")) == 2)
            stream.carried(0.1)
        assert stream.result.lost == 0
        files = {Path(word[5:]) for line in built.log_lines("dump") for word in line.split()
                 if word.startswith("file=")}  # fmt: skip
        named = {path.name: json.loads(path.read_text()) for path in files}
        assert set(named) == {"dump.json", "dump-control.json"}
        control = named["dump-control.json"]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        shown = built.router.call("fib.show")
        assert control["fib"]["geometry"] == shown["geometry"]
        assert len(control["routes"]) == control["rib"]["rows"]
        assert control["routes_left_off"] == 0
        prefixes = {row["prefix"] for row in control["routes"]}
        assert {"10.0.3.0/24", "2001:db8:3::/64", "10.0.2.0/24"} <= prefixes
        assert "10.0.2.2" in {row["address"] for row in control["neighbours"]["neighbours"]}
        assert control["stats"]["totals"]["rx"] > 0 and control["ipc"]["queue"]["key"]
