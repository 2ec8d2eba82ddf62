"""Writes docs/shm-layout.md from the C headers: every shared struct, its offsets and its words.

Use: `python docs/layout.py` rewrites the page; `python docs/layout.py --check` only says whether
it is stale (exit 1), which a test does. Offsets and sizes come from the compiled module, so from
the compiler; drawings and comments come from the headers, so they are written once.
"""

import re
import sys
from pathlib import Path
from typing import Any

from ribcage.shared._core import ffi, lib

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "shm-layout.md"
# Reading order. A header that is not there (yet) or not compiled in is left out.
HEADERS = (
    "layout/segment_layout.h",
    "layout/fib_layout.h",
    "engines/binary/binary.h",
    "engines/multibit/multibit.h",
    "layout/rib_layout.h",
    "layout/stats_layout.h",
)
KINDS = {"FIB": "SEGMENT_FIB", "RIB": "SEGMENT_RIB", "stats": "SEGMENT_STATS"}

INTRODUCTION = """# Shared memory, byte by byte

Generated from `csrc/layout/` by `docs/layout.py`; do not edit. Offsets and sizes in bytes, as
this build's compiler laid them out (little-endian, LP64). Who writes a field, and with which
memory ordering, stands in its note. A build with another layout id refuses the segment.
"""


def layouts() -> list[str]:
    """The layout id of each kind of segment this build knows."""
    lines = ["| segment | magic | major.minor | layout id | header |", "|---|---|---|---|---|"]
    expect = ffi.new("struct segment_expect *")
    for name, constant in KINDS.items():
        if lib.segment_expected(getattr(lib, constant), expect) != 0:
            continue
        lines.append(
            f"| {name} | `{expect.magic:#018x}` | {expect.major}.{expect.minor} "
            f"| `{expect.layout_id:#018x}` | {expect.header_size} |"
        )
    return lines


def opening(text: str) -> str:
    """The header's first comment as plain text, its drawing kept."""
    comment = text[text.index("/*") + 2 : text.index("*/")]
    lines = [re.sub(r"^ \*? ?", "", line).rstrip() for line in comment.splitlines()]
    return "\n".join(lines).strip()


def notes(body: str) -> dict[str, str]:
    """Field name -> what its comment says."""
    found: dict[str, str] = {}
    for match in re.finditer(r"(\w+)(?:\[[^]]*\])*;[ \t]*/\*(.*?)\*/", body, re.DOTALL):
        found[match[1]] = " ".join(re.sub(r"\n\s*\*? ?", " ", match[2]).split())
    return found


def type_name(kind: Any) -> str:
    return str(kind.cname).replace("struct ", "")


def table(name: str, body: str) -> list[str] | None:
    """One struct as a table; None when the module does not have it."""
    try:
        kind = ffi.typeof(f"struct {name}")
    except ffi.error:
        return None
    said = notes(body)
    lines = [f"### struct {name}: {ffi.sizeof(kind)} bytes", ""]
    lines += ["| offset | size | field | type | note |", "|---|---|---|---|---|"]
    for field, info in kind.fields or []:
        note = said.get(field, "").replace("|", "\\|")
        size = ffi.sizeof(info.type)
        lines.append(f"| {info.offset} | {size} | {field} | {type_name(info.type)} | {note} |")
    return [*lines, ""]


def section(header: str) -> list[str]:
    text = (ROOT / "csrc" / header).read_text()
    lines = [f"## {header}", "", "```text", opening(text), "```", ""]
    for match in re.finditer(r"^struct (\w+) \{(.*?)^\};", text, re.DOTALL | re.MULTILINE):
        lines += table(match[1], match[2]) or []
    for match in re.finditer(r"^struct (\w+) \{([^\n]*)\};", text, re.MULTILINE):
        lines += table(match[1], match[2]) or []
    return lines


def page() -> str:
    lines = [INTRODUCTION, *layouts(), ""]
    for header in HEADERS:
        if (ROOT / "csrc" / header).exists():
            lines += section(header)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        stale = not PAGE.exists() or PAGE.read_text() != text
        if stale:
            print("docs/shm-layout.md is stale: run python docs/layout.py", file=sys.stderr)
        return int(stale)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
