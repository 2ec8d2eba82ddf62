"""Nobody outside an engine's folder knows a name of it, and nobody asks which strategy it is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ribcage.shared.memory.fib_engines import engines
from ribcage.shared.memory.fib_sync import STRATEGIES

ROOT = Path(__file__).resolve().parent.parent.parent
CSRC = ROOT / "csrc"
PLANES = ("controlplane", "dataplane", "shared", "ribcage", "lab")
FOLDERS = sorted(path.name for path in (CSRC / "engines").iterdir() if path.is_dir())
# Words that are a strategy's name and much else besides.
COMMON = {"none", "message", "double"}
LISTS = {"engines": CSRC / "engines", "sync": CSRC / "sync"}


def code(path: Path) -> str:
    """A C file without its comments and texts."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.DOTALL)
    return re.sub(r'"[^"\n]*"', '""', text)


def outside(folder: Path) -> Iterator[Path]:
    for path in [*CSRC.rglob("*.[ch]"), *(ROOT / "lab").rglob("*.[ch]")]:
        if folder not in path.parents:
            yield path


def python() -> list[Path]:
    """The sources of the planes and the benchmark, each once: ribcage/ has links to the others."""
    found = {p.resolve() for plane in PLANES for p in (ROOT / plane).rglob("*.py")}
    return sorted(found)


def declared(folder: Path) -> set[str]:
    """Structs, functions, macros and constants of the headers of a folder."""
    text = "\n".join(code(path) for path in folder.rglob("*.h"))
    names = set(re.findall(r"^struct (\w+) \{", text, re.MULTILINE))
    names |= set(re.findall(r"^[a-z][\w ]*[ *](\w+)\(", text, re.MULTILINE))
    names |= set(re.findall(r"^#define (\w+)", text, re.MULTILINE))
    names |= set(re.findall(r"^    ([A-Z]\w+) = ", text, re.MULTILINE))
    return names - {"__attribute__"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_name_of_an_engine_is_used_outside_its_folder(folder: str) -> None:
    """Its structs, functions and limits are its own; the list knows the one entry it exports."""
    names = declared(CSRC / "engines" / folder)
    assert len(names) > 2
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in outside(CSRC / "engines" / folder)
        for word in sorted(set(re.findall(r"\w+", code(path))) & names)
    ]
    assert wrong == []


@pytest.mark.parametrize(("list_", "mark"), [("engines", "FIB_ENGINE_"), ("sync", "FIB_STRATEGY_")])
def test_numbers_of_engines_and_strategies_stay_in_their_rooms(list_: str, mark: str) -> None:
    """A number stands in the list and in the entry it belongs to; nobody compares it elsewhere."""
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in outside(LISTS[list_])
        for word in re.findall(rf"\b{mark}\w+", code(path))
    ]
    assert wrong == []
    for path in LISTS[list_].rglob("*.c"):
        assert re.findall(rf"[=!]= {mark}\w+", code(path)) == []
    for path in python():
        assert mark not in path.read_text(), path


def constants(path: Path) -> set[object]:
    return {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}


@pytest.mark.parametrize("names", [{*engines(4), *engines(6)}, {*STRATEGIES}])
def test_python_lists_no_engines_and_no_strategies(names: set[str]) -> None:
    """Two names of one list in a source of the planes or the benchmark would be a second list."""
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in python()
        if len(found := (constants(path) & names) - COMMON) > 1
    }
    assert wrong == {}


def test_python_compares_no_engine_and_no_strategy_by_name() -> None:
    """What is peculiar about one is a flag of its C entry, and a default the list's first."""
    names = {*engines(4), *engines(6), *STRATEGIES}
    wrong = []
    for path in python():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            named = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
            if named & names and re.search(r"sync|strateg|engine|lookup", ast.unparse(node)):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


@pytest.mark.parametrize(
    ("page", "names"),
    [("engines.md", {*engines(4), *engines(6)}), ("synchronisation.md", {*STRATEGIES})],
)
def test_the_page_has_a_row_for_each_and_no_other(page: str, names: set[str]) -> None:
    """The first table of the page names exactly what the build has."""
    text = (ROOT / "docs" / page).read_text()
    table = text[text.index("|---") :].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == names
