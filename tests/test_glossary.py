"""docs/glossary.md is true: what it names exists, what it rules out stays out of the code."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "glossary.md").read_text()
TERMS, _, OUT = PAGE.partition("## Words we do not use")
PACKAGES = ("csrc", "controlplane", "shared", "dataplane", "ribcage", "lab")
ENDINGS = ("", "s", "d", "r", "ed", "ing", "ment")
C_WORDS = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:[^\"\\\n]|\\.)*\"|([A-Za-z_]\w*)", re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The cells of each table row but headings."""
    lines = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if line[0] not in ("term", "not")]


def identifiers(path: Path) -> Iterator[str]:
    """The names in a source file, without comments and strings."""
    text = path.read_text()
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.string
    else:
        yield from (found for found in C_WORDS.findall(text) if found)


def parts(name: str) -> list[str]:
    """fib_graceSince -> fib, grace, since."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def sources() -> list[Path]:
    found = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*.*")]
    return [p for p in found if p.suffix in (".py", ".c", ".h") and "build" not in p.parts]


def test_the_glossary_has_twenty_to_forty_terms_each_in_a_place_that_exists() -> None:
    """A term that has moved or gone is found here."""
    terms = rows(TERMS)
    assert 20 <= len(terms) <= 40
    assert [term for term, *rest in terms if len(rest) != 3] == []
    assert [place for *_, place, _ in terms if not (ROOT / place.strip("`")).exists()] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fib_settle_since", ["fib", "settle", "since"]),
        ("KernelEdge", ["kernel", "edge"]),
        ("HEIRS_ONLY", ["heirs", "only"]),
    ],
)
def test_names_are_taken_apart(name: str, expected: list[str]) -> None:
    """Snake, camel and capitals."""
    assert parts(name) == expected


def test_words_that_are_ruled_out_are_no_names_in_the_code() -> None:
    """Neither in an identifier nor in the name of a file; comments may use them."""
    words = [cells[0].strip("`") for cells in rows(OUT)]
    assert len(words) >= 10
    out = {word + ending for word in words for ending in ENDINGS}
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        for name in {path.stem, *identifiers(path)}
        if out.intersection(parts(name))
    }
    assert len(sources()) > 300
    assert sorted(found) == []
