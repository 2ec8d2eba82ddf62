"""A routing table and its updates as sorted C rows, or an error that names the line.

    table = load_table(4, Path("rib4.txt.xz"))     # or None: the one lab/tables.py finds
    table.rows                                     # struct route_row[], sorted, distinct
    updates = load_updates(4, Path("upd4.txt.xz")) # lines `A|W prefix/len id`, in file order

A table is lines `prefix/len id`, plain, .xz or .gz, in any order. Duplicates, host bits, another
family and ids beyond what a FIB holds are refused whole: E_NO_FILE, E_TABLE, E_UPDATES, exit 2.
"""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.lab.tables import ROOT, SampleTable, find_table
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fields import prefix_of

ROW_BYTES: int = ffi.sizeof("struct route_row")
FAMILY_AT: int = ffi.offsetof("struct route_row", "family")
NEXTHOP_AT: int = ffi.offsetof("struct route_row", "nexthop")
MOST_BYTES = 1 << 30  # of text: a thousand full tables
_UNPACK = ((b"\xfd7zXZ\x00", lzma.decompress), (b"\x1f\x8b", gzip.decompress))
_REASONS = {
    lib.ROW_BAD_PREFIX: "is not ADDRESS/LENGTH and an id",
    lib.ROW_HOST_BITS: "has bits set below its length",
    lib.ROW_BAD_LENGTH: "has a length out of range",
    lib.ROW_BAD_NEXTHOP: "has no id above 0",
    lib.ROW_TRAILING: "has more than two fields",
}
_UPDATE = re.compile(rb"^([AW])[ \t]+(\S+)(?:[ \t]+([0-9]+))?[ \t]*\r?$")


@dataclass(frozen=True, slots=True)
class Rows:
    """`count` rows in a C array; `source` says where they come from."""

    family: int
    rows: Any
    count: int
    source: str

    def to_bytes(self) -> bytes:
        return bytes(ffi.buffer(self.rows, self.count * ROW_BYTES))

    @property
    def max_nexthop(self) -> int:
        return max(_nexthops(self.rows, self.count))


def load_table(family: int, path: Path | None, routes: int = 100_000, seed: int = 1) -> Rows:
    """The table at `path`; without one the real or synthetic table of lab/tables.py."""
    if path is None:
        found: SampleTable = find_table(family, routes, seed)
        text, source = "\n".join(found.lines).encode() + b"\n", found.source
    else:
        text, source = read_text(path), str(path)
    rows, count = _parse(text, path or source, "E_TABLE")
    if count == 0:
        raise _refused("E_TABLE", path or source, 1, "holds no route at all")
    _check(rows, count, family, text, path or source, "E_TABLE")
    lib.rows_sort(rows, count)
    twice = int(lib.rows_duplicate(rows, count))
    if twice != count:
        prefix = prefix_of(rows[twice])
        lines = _lines_of(text, str(prefix))
        raise _refused(
            "E_TABLE", path or source, lines[-1], f"has {prefix} again; first in line {lines[0]}"
        )
    return Rows(family, rows, count, source)


def load_updates(family: int, path: Path) -> Rows:
    """The updates at `path`, in order; a withdrawal has next hop 0."""
    text = read_text(path)
    lines = []
    withdrawn = []
    for number, line in enumerate(text.splitlines(), 1):
        found = _UPDATE.match(line)
        if found is None or (found[1] == b"A" and not int(found[3] or b"0")):
            if line.strip() and not line.lstrip().startswith(b"#"):
                raise _refused("E_UPDATES", path, number, "is not `A PREFIX ID` or `W PREFIX 0`")
            lines.append(b"")
            continue
        withdrawn.append(found[1] == b"W")
        lines.append(found[2] + b" " + (b"1" if found[1] == b"W" else found[3]))
    plain = b"\n".join(lines) + b"\n"
    rows, count = _parse(plain, path, "E_UPDATES")
    if count == 0:
        raise _refused("E_UPDATES", path, 1, "holds no update at all")
    _check(rows, count, family, plain, path, "E_UPDATES")
    for i, gone in enumerate(withdrawn):
        if gone:
            rows[i].nexthop = 0
    return Rows(family, rows, count, str(path))


def find_updates(family: int, table: Path | None) -> Path | None:
    """The update stream beside the table, else the one beside the tests' data."""
    folders = [ROOT.parent / "shared" / "data"]
    if table is not None:
        folders.insert(0, table.resolve().parent)
    for folder in folders:
        for found in sorted(folder.glob(f"upd{family}-synth*")):
            return found
    return None


def read_text(path: Path) -> bytes:
    """The file's text, unpacked."""
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise RibcageError(
                "E_NO_FILE",
                f"{path} {what}",
                "a table is lines `PREFIX/LEN ID`, plain, .gz or .xz",
                Exit.USAGE,
            )
        raw = path.read_bytes()
        for magic, unpack in _UNPACK:
            if raw.startswith(magic):
                raw = unpack(raw)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise RibcageError("E_NO_FILE", f"cannot read {path}: {error}", None, Exit.USAGE) from None
    if len(raw) > MOST_BYTES:
        raise RibcageError("E_TABLE", f"{path} holds {len(raw)} bytes of text", None, Exit.USAGE)
    return raw.removeprefix(b"\xef\xbb\xbf")  # what Windows editors put before UTF-8


def _parse(text: bytes, where: Path | str, code: str) -> tuple[Any, int]:
    most = text.count(b"\n") + 1
    rows = ffi.new("struct route_row[]", most + 1)
    result = ffi.new("struct row_parse *")
    buffer = ffi.from_buffer(text)
    if lib.rows_parse(buffer, len(text), 1, rows, most, ffi.NULL, 0, ffi.NULL, result):
        reason = _REASONS[int(result.error)]
        if result.error == lib.ROW_HOST_BITS:
            reason += f" (did you mean {prefix_of(rows[result.rows])}?)"
        raise _refused(code, where, int(result.line), reason)
    return rows, int(result.rows)


def _check(rows: Any, count: int, family: int, text: bytes, where: Path | str, code: str) -> None:
    """Every row of this family, every id one that a FIB holds."""
    most = lib.FIB_MAX_GROUPS - 1
    families = bytes(ffi.buffer(rows, count * ROW_BYTES))[FAMILY_AT::ROW_BYTES]
    if families.count(family) != count:
        first = next(i for i in range(count) if families[i] != family)
        raise _refused(code, where, _line_of_row(text, first), f"is not IPv{family}")
    nexthops = _nexthops(rows, count)
    if max(nexthops) > most:
        first = next(i for i in range(count) if nexthops[i] > most)
        raise _refused(
            code,
            where,
            _line_of_row(text, first),
            f"has id {nexthops[first]}; a FIB holds 1..{most}",
        )


def _nexthops(rows: Any, count: int) -> memoryview:
    """The next-hop word of each row."""
    words = memoryview(ffi.buffer(rows, count * ROW_BYTES)).cast("B").cast("I")
    return words[NEXTHOP_AT // 4 :: ROW_BYTES // 4]


def _content(text: bytes) -> list[tuple[int, bytes]]:
    """(line number, content) of the lines that are rows."""
    stripped = (line.partition(b"#")[0].strip() for line in text.split(b"\n"))
    return [(number, line) for number, line in enumerate(stripped, 1) if line]


def _line_of_row(text: bytes, row: int) -> int:
    return _content(text)[row][0]


def _lines_of(text: bytes, prefix: str) -> list[int]:
    """The lines of one prefix, however its address is written."""
    wanted = ffi.new("struct route_row *")
    found = []
    row = ffi.new("struct route_row[1]")
    result = ffi.new("struct row_parse *")
    one = prefix.encode() + b" 1\n"
    lib.rows_parse(one, len(one), 1, wanted, 1, ffi.NULL, 0, ffi.NULL, result)
    for number, line in _content(text):
        lib.rows_parse(line, len(line), 1, row, 1, ffi.NULL, 0, ffi.NULL, result)
        if bytes(ffi.buffer(row[0].prefix)) == bytes(ffi.buffer(wanted.prefix)) and (
            row[0].length == wanted.length
        ):
            found.append(number)
    return found


def _refused(code: str, where: Path | str, line: int, what: str) -> RibcageError:
    return RibcageError(
        code,
        f"{where}: line {line} {what}",
        "nothing was measured",
        Exit.USAGE,
    )
