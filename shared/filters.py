"""Prints the classic BPF programs of a port for people (`doctor`, `show ports`).

Use: `print(listing(port_filter("port")))`, `listing(fanout_program(table))`. The programs come from
csrc/port/filter.c, the very ones that are attached. Pure; any process. What a listing means is
in the kernel's Documentation/networking/filter.rst; `#` marks constants, `[..]` packet loads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ribcage.shared._core import ffi, lib

# enum of linux/filter.h: where a negative offset asks the kernel instead of the packet.
ANCILLARY_AT = 0xFFFFF000
ANCILLARY = {0: "proto", 4: "type", 44: "vlan_tci"}
SIZES = {0x00: "ld", 0x08: "ldh", 0x10: "ldb"}
ARITHMETIC = {0x00: "add", 0x10: "sub", 0x20: "mul", 0x40: "or", 0x50: "and", 0x60: "lsh",
              0x70: "rsh", 0x90: "mod", 0xA0: "xor"}  # fmt: skip
JUMPS = {0x10: "jeq", 0x20: "jgt", 0x30: "jge", 0x40: "jset"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """struct sock_filter: code, relative jumps, constant."""

    code: int
    jump_true: int
    jump_false: int
    k: int


def port_filter(kind: str) -> list[Instruction]:
    """What may enter the ring of a "port" or a "host" port."""
    number = {"port": lib.PORT_KIND_NETWORK, "host": lib.PORT_KIND_HOST}[kind]
    out = ffi.new("struct port_instruction[]", lib.PORT_PROGRAM_MAX)
    return _instructions(out, lib.port_filter_program(number, out))


def fanout_program(members: Sequence[int], seed: int = 0) -> list[Instruction]:
    """Which member of a port's group a packet goes to: `members[bucket]`, one for each of the
    PORT_BUCKETS. Starts at the network header."""
    table = ffi.new("uint16_t[]", list(members))
    assert len(table) == lib.PORT_BUCKETS
    out = ffi.new("struct port_instruction[]", lib.PORT_PROGRAM_MAX)
    return _instructions(out, lib.port_fanout_program(table, seed, out))


def _instructions(array: object, n: int) -> list[Instruction]:
    return [
        Instruction(row.code, row.jump_true, row.jump_false, row.k)
        for row in (array[i] for i in range(n))  # type: ignore[index]
    ]


def listing(program: list[Instruction]) -> str:
    """One line an instruction, jumps by line number."""
    return "\n".join(f"{n:3}: {_text(n, i)}" for n, i in enumerate(program))


def _text(line: int, i: Instruction) -> str:
    match i.code & 0x07:
        case 0x00:
            return _load(i)
        case 0x01:
            what = {0x00: f"#{i.k}", 0x60: f"M[{i.k}]", 0xA0: f"4*([{i.k}]&0xf)"}
            return f"ldx  {what[i.code & 0xE0]}"
        case 0x02 | 0x03:
            return f"{'stx' if i.code & 0x01 else 'st':4} M[{i.k}]"
        case 0x04:
            operand = "x" if i.code & 0x08 else f"#{i.k:#x}"
            return f"{ARITHMETIC[i.code & 0xF0]:4} {operand}"
        case 0x05:
            yes, no = line + 1 + i.jump_true, line + 1 + i.jump_false
            if i.code & 0xF0 == 0x00:
                return f"ja   {line + 1 + i.k}"
            operand = "x" if i.code & 0x08 else f"#{i.k:#x}"
            return f"{JUMPS[i.code & 0xF0]:4} {operand}, {yes}, {no}"
        case 0x06:
            return "ret  a" if i.code & 0x18 == 0x10 else f"ret  #{i.k}"
        case _:
            return "tax" if i.code & 0xF8 == 0x00 else "txa"


def _load(i: Instruction) -> str:
    name = SIZES[i.code & 0x18]
    if i.code & 0xE0 in (0x00, 0x80):
        return f"{name:4} {'len' if i.code & 0xE0 else f'#{i.k}'}"
    if i.code & 0xE0 == 0x60:
        return f"{name:4} M[{i.k}]"
    if i.code & 0xE0 == 0x40:
        return f"{name:4} [x + {i.k}]"
    if i.k >= ANCILLARY_AT:
        return f"{name:4} {ANCILLARY[i.k - ANCILLARY_AT]}"
    return f"{name:4} [{i.k}]"
