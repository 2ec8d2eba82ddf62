"""Scripts of FIB changes for the crash tests: written for C, played on the golden model.

Use: `Script([Step([...]), ...])`; operations are tuples as script.h reads them, ("rows", [Route,
...]), ("group", id, kind, buckets), ("adjacency", id, port, mtu), ("port", index, mtu), and
("nogroup", id) and so on. `write()` gives the file, `states()` what the table may be between.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ribcage.shared.rows import address_bytes, family_of

from tests.c.build import CSRC, build_c_test
from tests.model.golden import Golden

Operation = tuple[Any, ...]
HERE = Path(__file__).resolve().parent
FIB_SOURCES = sorted(
    path.name for path in CSRC.glob("*.c") if path.name.startswith(("fib", "rows", "segment"))
)


def build_program(
    name: str, tmp_path: Path, *flags: str, instead: Mapping[str, Path] | None = None
) -> Path:
    """tests/crash/NAME.c with the FIB's C files, optimised as the product is; `instead` names
    files that take the place of one."""
    sources = [str((instead or {}).get(source, source)) for source in FIB_SOURCES]
    return build_c_test(
        str(HERE / f"{name}.c"), sources, tmp_path, flags=("-O3", f"-I{HERE}", *flags)
    )


def built(factory: pytest.TempPathFactory, name: str) -> Path:
    """The program as it is for every test of a session, compiled once."""
    folder = factory.getbasetemp() / "fib-programs"
    folder.mkdir(exist_ok=True)
    program = folder / name
    return program if program.exists() else build_program(name, folder, "-DRC_FAULT_POINTS")


def play(golden: Golden, operation: Operation) -> Iterator[Golden]:
    """The states the table goes through, the last one being after the operation."""
    kind, *rest = operation
    if kind == "rows":
        for route in rest[0]:
            golden.apply(route)
            yield golden.copy()
        return
    if kind == "group":
        golden.groups[rest[0]] = (rest[1], rest[2])
    elif kind == "adjacency":
        golden.adjacencies[rest[0]] = (rest[1], rest[2])
    elif kind == "port":
        golden.ports[rest[0]] = rest[1]
    else:
        table = {"nogroup": golden.groups, "noadjacency": golden.adjacencies}
        table.get(kind, golden.ports).pop(rest[0], None)  # type: ignore[attr-defined]
    yield golden.copy()


def line(operation: Operation) -> str:
    kind, *rest = operation
    if kind == "rows":
        return "\n".join([f"rows {len(rest[0])}", *map(row_line, rest[0])])
    words = [rest[0], rest[1], len(rest[2]), *rest[2]] if kind == "group" else rest
    return " ".join([kind, *map(str, words)])


def row_line(route: Any) -> str:
    address, _, length = route.prefix.partition("/")
    raw = address_bytes(address)
    return f"r {family_of(raw)} {raw.ljust(16, bytes(1)).hex()} {length} {route.group}"


@dataclass(frozen=True, slots=True)
class Script:
    steps: list[list[Operation]]

    def write(self, path: Path) -> Path:
        lines = [text for step in self.steps for text in ("step", *map(line, step))]
        path.write_text("\n".join(lines) + "\n")
        return path

    def after(self, steps: int) -> Golden:
        """The table once `steps` steps are done."""
        golden = Golden()
        for step in self.steps[:steps]:
            for operation in step:
                for _ in play(golden, operation):
                    pass
        return golden

    def states(self, steps: int) -> list[Golden]:
        """What may be found when a writer was killed with `steps` steps published."""
        golden = self.after(steps)
        found = [golden.copy()]
        for operation in self.steps[steps] if steps < len(self.steps) else []:
            found += play(golden, operation)
        return found

    def write_truth(self, path: Path, addresses: list[str], generations: int) -> Path:
        """The table witness.c reads: right answers of generations 0..generations-1 (of a
        script that is repeated: of its second round)."""
        keys = b"".join(
            address_bytes(a).ljust(16, b"\0") + bytes([family_of(address_bytes(a)), 0, 0, 0])
            for a in addresses
        )
        golden, rows = Golden(), [b""] * generations
        for generation in range(2 * len(self.steps) + 1):
            answers = (struct.pack("=3I", *golden.answer(a)) for a in addresses)
            rows[generation % generations] = b"".join(answers)
            if generation == generations - 1 == len(self.steps):
                break
            for operation in self.steps[generation % len(self.steps)]:
                for _ in play(golden, operation):
                    pass
        path.write_bytes(keys + b"".join(rows))
        return path
