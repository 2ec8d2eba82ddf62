"""What the crash tests of the FIB run."""

from pathlib import Path

import pytest

from tests.crash.fib_script import built
from tests.crash.killing import SCRIPT


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to both programs, and the script."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("victim", "witness"):
        (folder / name).symlink_to(built(name))
    SCRIPT.write(folder / "script")
    return folder
