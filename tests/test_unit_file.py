"""docs/ribcage@.service: systemd takes it, and it says what the supervisor relies on."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "docs" / "ribcage@.service"


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with a program that is there in place of ours."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "ribcage@r1.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/ribcage", "/bin/true"))
    command = [program, "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (ours, done.returncode) == ([], 0), done.stderr


def test_the_unit_says_what_the_supervisor_relies_on() -> None:
    """Notified, watched, a store of descriptors, and nobody killed but the main process."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    wanted = {"Type": "notify", "NotifyAccess": "main", "KillMode": "process",
              "Restart": "on-failure", "WatchdogSignal": "SIGKILL"}  # fmt: skip
    assert {key: service[key] for key in wanted} == wanted
    assert int(service["WatchdogSec"]) >= 3
    assert int(service["FileDescriptorStoreMax"]) >= 33 * 64
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
