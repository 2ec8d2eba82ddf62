"""The stages of a start, as the benchmark reads them from a log."""

import json
from pathlib import Path

from ribcage.lab.bench.start import lines_of, spread, stages_of


def line(ts: float, role: str, event: str) -> str:
    return json.dumps({"ts": ts, "role": role, "event": event})


def test_a_stage_is_the_time_of_its_line_after_the_command(tmp_path: Path) -> None:
    """The first or the last of its lines, of this start alone, and of nobody after `ready`."""
    log = tmp_path / "log"
    log.write_text("an older run\n" + line(1.0, "supervisor", "supervisor.starts") + "\n")
    since = log.stat().st_size
    rows = [
        line(10.2, "supervisor", "supervisor.starts"),
        "no JSON, [1]",
        "[1]",
        line(10.5, "supervisor", "port.open"),
        line(10.6, "supervisor", "port.open"),
        line(10.7, "supervisor", "ready"),
        line(11.9, "supervisor", "port.open"),
    ]
    with log.open("a") as file:
        file.write("\n".join(rows) + "\n")
    found = stages_of(lines_of(log, since), 10.0)
    assert {name: round(ms) for name, ms in found.items()} == {
        "supervisor": 200, "first port open": 500, "last port open": 600, "up": 700,
    }  # fmt: skip


def test_stages_that_not_every_run_has_are_left_out() -> None:
    """Medians are of all runs, or of none."""
    runs = [{"up": 3.0, "stop": 1.0}, {"up": 1.0}, {"up": 2.0}]
    assert spread(runs) == {"up": {"median": 2.0, "min": 1.0, "max": 3.0}}
    assert spread([]) == {}
