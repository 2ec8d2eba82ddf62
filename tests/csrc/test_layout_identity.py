"""The layout identity covers all that processes share: any change of it is another layout id."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ribcage.shared._core import ffi, lib

ROOT = Path(__file__).resolve().parent.parent.parent
CSRC = ROOT / "csrc"
SPEC = importlib.util.spec_from_file_location("layout_page", ROOT / "docs" / "layout.py")
assert SPEC is not None and SPEC.loader is not None
layout = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(layout)

KNOWN = {item.name: item for kind in layout.KINDS for item in layout.items(kind)}
SHARED = {
    name: (str(path.relative_to(CSRC)), body)
    for path in sorted(CSRC.rglob("*.h"))
    for name, body in layout.structs(path.read_text())
    if name in KNOWN
}
PROGRAM = """
#include <stdio.h>
#include "binding/formats.h"
int main(void)
{
    for (uint32_t kind = 1; kind <= 4; kind++) {
        struct segment_expect expect;
        int error = segment_expected(segment_format(kind), &expect);
        printf("%d:%016llx ", error, (unsigned long long)expect.layout_id);
    }
    return 0;
}
"""
# Sizes are asserted beside many structs; here they are meant to change.
CC = [*shlex.split(os.environ.get("CC", "cc")), "-std=gnu11", "-D_GNU_SOURCE", "-O0", "-w",
      "-DRC_ANY_LAYOUT"]  # fmt: skip


class Build:
    """What computes the ids, in objects; a copy in which one header is another is linked anew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.copy = folder, folder / "csrc"
        shutil.copytree(CSRC, self.copy)
        (folder / "ids.c").write_text(PROGRAM)
        every = {path: path.read_text() for path in self.copy.rglob("*.c")}
        lists = [path for path, text in every.items() if "LAYOUT(" in text]
        # Besides the lists: what hashes them, and the tables that say which there are.
        others = [
            path
            for path in every
            if path not in lists
            and (
                path.is_relative_to(self.copy / "segment") or path.name in ("formats.c", "table.c")
            )
        ]
        objects = {path: folder / f"{i}.o" for i, path in enumerate([*lists, *others])}
        objects[folder / "ids.c"] = folder / "ids.o"
        with ThreadPoolExecutor(2) as two:
            list(two.map(lambda path: self.compile(path, objects[path]), objects))
        # Only these compute anything from the structs' places; the rest is linked once.
        self.lists = {path: objects[path] for path in lists}
        self.rest = folder / "rest.o"
        rest = [str(to) for path, to in objects.items() if path not in self.lists]
        subprocess.run([*CC, "-r", "-nostdlib", *rest, "-o", str(self.rest)], check=True)
        self.before = self.ids({})

    def compile(self, path: Path, to: Path) -> None:
        line = [*CC, f"-I{self.copy}", "-c", str(path), "-o", str(to)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr

    def ids(self, fresh: dict[Path, Path]) -> str:
        objects = {**self.lists, **fresh}
        program = self.folder / "ids"
        # An engine's functions are missing: nobody calls them here, and who did would crash.
        # Static, because the loader would look for them.
        line = [*CC, "-static", "-Wl,--unresolved-symbols=ignore-all", str(self.rest)]
        line += [*map(str, objects.values()), "-o", str(program)]
        subprocess.run(line, check=True, timeout=100)
        return subprocess.run([program], check=True, capture_output=True, text=True).stdout

    def edited(self, header: str, old: str, new: str) -> str:
        """The ids when this text of a header is another."""
        path = self.copy / header
        text = path.read_text()
        assert text.count(old) == 1, f"{header}: {old!r}"
        path.write_text(text.replace(old, new))
        try:
            name = re.search(r"#define (\w+_LAYOUT)\b", text)
            assert name is not None, f"{header} has no list"
            fresh = {p: self.folder / f"fresh-{i}.o" for i, p in enumerate(self.lists)
                     if name[1] in p.read_text()}  # fmt: skip
            assert fresh, f"nobody uses {name[1]}"
            for source, to in fresh.items():
                self.compile(source, to)
            return self.ids(fresh)
        finally:
            path.write_text(text)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(tmp_path_factory.mktemp("identity"))


def test_the_lists_name_every_shared_struct_and_every_field() -> None:
    """A struct of a layout header, and a field of a struct of any list, cannot be left out."""
    named = {name for name in KNOWN if KNOWN[name].bytes and "." not in name}
    assert named == set(SHARED)
    for path in sorted((CSRC / "layout").glob("*_layout.h")):
        for name, _ in layout.structs(path.read_text()):
            assert name in named, f"{path.name}: struct {name} is in no list"
    for name, (header, body) in SHARED.items():
        fields = [f"{name}.{field}" for field, _ in layout.declared(body)]
        listed = [item for item in KNOWN if item.startswith(f"{name}.")]
        assert set(listed) == set(fields), f"{header}: struct {name}"


def test_every_engine_and_every_strategy_has_a_list() -> None:
    """Without one there is no layout id, hence no segment: nobody can forget it."""
    text = (CSRC / "sync" / "table.h").read_text() + (CSRC / "engines" / "table.h").read_text()
    listed = re.findall(r"^    (ENGINE|STRATEGY)\((\w+), ", text, re.MULTILINE)
    entries = [("lpm_" if kind == "ENGINE" else "fib_sync_") + name for kind, name in listed]
    assert len(entries) >= 13
    for name in entries:
        found = [
            path
            for path in CSRC.rglob("*.c")
            if re.search(rf"^const struct \w+ {name} = ", path.read_text(), re.MULTILINE)
        ]
        assert len(found) == 1, name
        entry = re.split(rf"^const struct \w+ {name} = ", found[0].read_text(), flags=re.MULTILINE)
        assert ".layout = LAYOUT(" in entry[1].split("\n};")[0], name


def test_an_empty_list_makes_no_segment() -> None:
    """What an engine without a list would do to every FIB: -EINVAL, and nothing is attached."""
    format_ = ffi.new("struct segment_format *", lib.segment_format(lib.SEGMENT_FIB)[0])
    empty = ffi.new("struct layout *")

    @ffi.callback("const struct layout *(uint32_t)")
    def part(position: int) -> object:
        return empty if position == 0 else ffi.NULL

    memory = ffi.new("uint64_t[]", 4096 // 8)
    expect = ffi.new("struct segment_expect *")
    assert lib.segment_expected(format_, expect) == 0
    assert lib.segment_identify(memory, 4096, format_, 1) == 0
    assert lib.segment_check(memory, 4096, format_) == lib.SEGMENT_READY
    format_.part = part
    assert lib.segment_expected(format_, expect) == -22
    assert lib.segment_identify(memory, 4096, format_, 1) == -22
    assert lib.segment_check(memory, 4096, format_) != lib.SEGMENT_READY


def changes(body: str) -> list[tuple[str, str]]:
    """Edits of a struct: its first two declarations change places, one more comes last."""
    bare = re.sub(r"/\*.*?\*/", layout.blank, body, flags=re.DOTALL)
    ends = [match.end() for match in re.finditer(";", bare)]
    starts = [0, *ends]
    parts = [body[a:b] for a, b in zip(starts, ends, strict=False)]
    found = []
    if len(parts) > 1:
        found.append((parts[0] + parts[1], parts[1] + parts[0]))
    found.append((parts[-1], parts[-1] + " uint64_t added;"))
    return found


@pytest.mark.parametrize("name", SHARED)
def test_another_struct_is_another_layout_id(build: Build, name: str) -> None:
    """Two fields that change places, a field that is added: each gives an id of its own."""
    header, body = SHARED[name]
    start = f"struct {name} {{"
    found = {
        build.edited(header, start + body, start + body.replace(old, new, 1))
        for old, new in changes(body)
    }
    assert build.before not in found
    assert len(found) == len(changes(body))


@pytest.mark.parametrize("header", sorted({header for header, _ in SHARED.values()}))
def test_two_fields_that_change_places_in_the_list_as_well_are_seen(
    build: Build, header: str
) -> None:
    """Names count, not offsets alone: whoever keeps the list in step changes the id, too."""
    text = (build.copy / header).read_text()
    match = re.search(r"LAYOUT_STRUCT\((\w+), (\w+), (\w+)", text)
    assert match is not None
    body = SHARED[match[1]][1]
    old, new = changes(body)[0]
    kept = text.replace(body, body.replace(old, new, 1))
    listed = kept.replace(match[0], f"LAYOUT_STRUCT({match[1]}, {match[3]}, {match[2]}")
    assert build.edited(header, text, listed) != build.before


@pytest.mark.parametrize(
    "number", [n for n, item in KNOWN.items() if item.bytes == 0 and "(" not in n]
)
def test_a_number_of_the_layout_is_in_the_page(number: str) -> None:
    """What is no struct but laid out by (a mark, a limit) stands in a list and on the page."""
    assert f"{number} = {KNOWN[number].at}" in layout.PAGE.read_text()
