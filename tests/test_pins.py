"""What the repository's own runs install is written down."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def plain(name: str) -> str:
    """As the package index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned() -> None:
    """Those of pyproject.toml, the developer's too, have one version each in constraints.txt, and
    setup.sh installs with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    lines = (ROOT / "lab/constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([\w.-]+)==[\w.]+", line) for line in lines if not line.startswith("#")]
    assert all(pins), lines
    pinned = [plain(match[1]) for match in pins if match]
    assert len(pinned) == len(set(pinned))
    names = {plain(re.split(r"[^\w.-]", word)[0]) for word in wanted}
    assert names - set(pinned) == set()
    assert "-c lab/constraints.txt" in (ROOT / "lab/setup.sh").read_text()
