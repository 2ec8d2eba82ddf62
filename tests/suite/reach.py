"""Run directories of tests lie where the processes of a router can come, whatever user they get.

pytest makes its temporary folders for their owner alone, and closes the one above them again with
every session that starts beside this one. As root a router's processes have users of their own, who
could not pass through. So root's sessions have a folder each, which others may pass and not list;
it goes when nothing failed.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

OURS: list[Path] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if os.geteuid() == 0 and config.option.basetemp is None:
        # Short: a Unix socket's path has 107 bytes.
        OURS.append(Path(tempfile.mkdtemp(prefix="rct-")))
        config.option.basetemp = str(OURS[0] / "t")


@pytest.fixture(autouse=True, scope="session")
def _passable(tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.geteuid() != 0:
        return
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    make = tmp_path_factory.mktemp

    def mktemp(*names: Any, **more: Any) -> Any:
        path = make(*names, **more)
        path.chmod(path.stat().st_mode | 0o011)
        return path

    tmp_path_factory.mktemp = mktemp  # type: ignore[method-assign]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    for folder in OURS if exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED) else ():
        shutil.rmtree(folder, ignore_errors=True)
