"""docs/threat-model.md has a test for each row, and the test is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "threat-model.md"
HOSTILE = "tests/netns/hostile/test_hostile_worker.py"


def rows() -> list[str]:
    text = PAGE.read_text()
    table = text[text.index("| it tries to |") : text.index("A client of the machine")]
    return table.splitlines()[2:-1]


def test_every_row_names_a_test_that_exists() -> None:
    """In the file that it names, or in the hostile worker's."""
    assert len(rows()) >= 20
    for row in rows():
        told = row.split("|")[3]
        names = re.findall(r"`(test_\w+)`", told)
        files = re.findall(r"`(tests/[\w/.]+)`", told) or [HOSTILE]
        assert names, row
        source = "".join((ROOT / file).read_text() for file in files)
        for name in names:
            assert f"def {name}(" in source, name


def test_every_attack_of_the_hostile_worker_has_a_row() -> None:
    """A test that nobody can find in the page shows nobody anything."""
    found = set(re.findall(r"^def (test_\w+)\(", (ROOT / HOSTILE).read_text(), re.MULTILINE))
    whole = {"test_in_the_end_the_others_counters_are_right",
             "test_a_plain_users_router_holds_as_well"}  # fmt: skip
    assert found - whole == {name for name in found if f"`{name}`" in PAGE.read_text()}
