"""The rooms of csrc/: the map in csrc/README.md is the rule, for includes and for symbols."""

import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parent.parent.parent / "csrc"
ROW = re.compile(r"^\| `(\w+)/` \|[^|]*\| ?([^|]*?) ?\| `", re.MULTILINE)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
DEFINED, WANTED = "TDBRVW", "U"
LONGEST, MOST_FILES, MOST_LINES = 350, 14, 3500


def sources(pattern: str = "*.[ch]") -> list[str]:
    return sorted(str(path.relative_to(CSRC)) for path in CSRC.rglob(pattern))


def room(name: str) -> str:
    """`engines` of `engines/compact/read.c`; "" at the top."""
    return name.split("/")[0] if "/" in name else ""


def inner(name: str) -> str:
    """The room inside the room, `compact` of `engines/compact/write/node.c`; or ""."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 else ""


@cache
def allowed() -> dict[str, list[str]]:
    """The map: room -> rooms it may use, in reading order."""
    rows = ROW.findall((CSRC / "README.md").read_text())
    return {name: [word for word in uses.split(", ") if word] for name, uses in rows}


@cache
def includes() -> dict[str, list[str]]:
    return {name: INCLUDE.findall((CSRC / name).read_text()) for name in sources()}


@pytest.fixture(scope="module")
def uses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """File -> symbols of other files that it uses, each with the file that defines it. Compiled
    without inlining, so that no call disappears."""
    folder = tmp_path_factory.mktemp("rooms")
    compiler = [*shlex.split(os.environ.get("CC", "cc")), "-std=gnu11", "-D_GNU_SOURCE", "-O0"]

    def compiled(name: str) -> str:
        made = folder / (name.replace("/", "-") + ".o")
        line = [*compiler, f"-I{CSRC}", "-c", str(CSRC / name), "-o", str(made)]
        subprocess.run(line, check=True, capture_output=True, text=True, timeout=100)
        return str(made)

    files = sources("*.c")
    with ThreadPoolExecutor(2) as two:
        objects = dict(zip(two.map(compiled, files), files, strict=True))
    listed = subprocess.run(["nm", "-AP", *objects], check=True, capture_output=True, text=True)
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in files}
    for entry in listed.stdout.splitlines():
        made, _, rest = entry.partition(": ")
        symbol, kind = rest.split()[:2]
        found[objects[made]].append((symbol, kind))
    home = {s: name for name, listed in found.items() for s, kind in listed if kind in DEFINED}
    return {
        name: {s: home[s] for s, kind in listed if kind == WANTED and s in home}
        for name, listed in found.items()
    }


def test_the_map_names_every_room_and_only_those() -> None:
    """Each folder of csrc/ is a row; each row is a folder, and begins at a file that is there."""
    folders = {path.name for path in CSRC.iterdir() if any(path.glob("*.[ch]"))}
    assert set(allowed()) == folders
    text = (CSRC / "README.md").read_text()
    for name, starts in re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", text, re.MULTILINE):
        for start in re.findall(r"`([\w.]+)`", starts):
            assert (CSRC / name / start).is_file(), f"{name}: there is no {start}"


def test_a_room_uses_only_rooms_above_it() -> None:
    """So no circle of rooms can be declared."""
    order = list(allowed())
    for at, name in enumerate(order):
        assert set(allowed()[name]) <= set(order[:at]), name


def test_includes_follow_the_map() -> None:
    """Who includes a header of a room it may not use is named with it."""
    wrong = [
        f"{name} includes {header}"
        for name, headers in includes().items()
        for header in headers
        if room(name) and room(header) not in (room(name), *allowed()[room(name)])
    ]
    assert wrong == []
    unknown = {h for headers in includes().values() for h in headers} - set(sources())
    assert unknown == set()


def test_symbols_follow_the_map(uses: dict[str, dict[str, str]]) -> None:
    """A declaration copied instead of included does not help: the linker's view is the same."""
    wrong = [
        f"{name} uses {symbol} of {other}"
        for name, found in uses.items()
        for symbol, other in found.items()
        if room(other) not in (room(name), *allowed()[room(name)])
    ]
    assert wrong == []


def test_the_map_allows_nothing_that_nobody_uses(uses: dict[str, dict[str, str]]) -> None:
    """A room that may use another does."""
    used = {(room(name), room(h)) for name, headers in includes().items() for h in headers}
    used |= {(room(name), room(other)) for name, found in uses.items() for other in found.values()}
    may = {(name, other) for name, others in allowed().items() for other in others}
    assert may - used == set()


def test_rooms_inside_a_room_do_not_know_each_other(uses: dict[str, dict[str, str]]) -> None:
    """An engine uses no other engine, a strategy with a room of its own no other strategy."""
    pairs = [(name, header) for name, headers in includes().items() for header in headers]
    pairs += [(name, other) for name, found in uses.items() for other in found.values()]
    wrong = {
        f"{name} -> {other}"
        for name, other in pairs
        if room(name) == room(other) and inner(name) and inner(other)
        and inner(name) != inner(other)
    }  # fmt: skip
    assert wrong == set()


def test_no_header_includes_itself_by_a_detour() -> None:
    """No circle of headers, inside a room either."""
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in done:
            return
        for header in includes()[name]:
            walk(header, (*way, name))
        done.add(name)

    for name in sources("*.h"):
        walk(name, ())


def test_files_and_rooms_stay_small() -> None:
    """A file is read at a sitting; a folder with more than that has rooms inside."""
    lines = {name: len((CSRC / name).read_text().splitlines()) for name in sources()}
    assert [name for name, n in lines.items() if n > LONGEST] == []
    for folder in {Path(name).parent for name in lines}:
        own = [n for name, n in lines.items() if Path(name).parent == folder]
        assert len(own) <= MOST_FILES and sum(own) <= MOST_LINES, folder
