"""Bulk loads: many `prefix/len nexthop` lines in chunks, then one commit. Control only.

    begin {vias, atomic, metric, distance} -> id;  chunk {id, text} -> rows so far
    commit {id, wait} -> routes, generation, seconds;  abort {id}

Rows are parsed and applied in C, in slices with a turn of the loop between them. `atomic` means
that nothing is applied unless every row would be taken; workers may still see the rows appear
slice by slice. What is open is bounded (MAX_OPEN, the tables' limits, IDLE seconds) and goes with
the client that began it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.controlplane.fib.publishing import Published
from ribcage.controlplane.routes.core import Core
from ribcage.controlplane.routes.load_commit import Load, apply, assign, check
from ribcage.controlplane.routes.sources.runtime import RUNTIME
from ribcage.controlplane.routes.sources.table import FORMERLY
from ribcage.controlplane.values.parse import (
    parse_address,
    parse_number,
    parse_word,
    usage,
)
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fields import prefix_of
from ribcage.shared.memory.rows import new_rows

MAX_OPEN = 4
MAX_CHUNK = 60_000  # characters of one chunk
MAX_VIAS = 32_767
IDLE = 60.0  # seconds without a chunk
BLOCK = 8192  # rows parsed at a time
WAITS = ("visible", "published", "none")


class Loads:
    """See the module's text. `finish(published, wait)` makes the reply of a change."""

    def __init__(self, core: Core, finish: Callable[[Published, str], Any]) -> None:
        self.core = core
        self.finish = finish
        self._open: dict[int, Load] = {}
        self._next = 1

    def begin(self, params: Mapping[str, Any]) -> Load:
        """route.load.begin. E_BUSY when MAX_OPEN loads are open."""
        self._expire()
        if len(self._open) >= MAX_OPEN:
            raise RibcageError(
                "E_BUSY", f"{MAX_OPEN} loads are open already", "commit or abort one", Exit.NO
            )
        parse_word(params, "source", RUNTIME.name, (RUNTIME.name, *FORMERLY))
        vias = params.get("vias") or []
        if not isinstance(vias, Sequence) or isinstance(vias, str) or len(vias) > MAX_VIAS:
            raise usage("E_NEXTHOPS", f"vias is a list of at most {MAX_VIAS} addresses")
        load = Load(
            self._next,
            [parse_address(via) for via in vias],
            bool(params.get("atomic")),
            parse_number(params, "metric", 0, 0, 0xFFFFFFFF),
            parse_number(params, "distance", RUNTIME.distance, 1, 255),
        )
        load.gateways = ffi.new("struct gateway_text[]", MAX_VIAS)
        load.n_gateways = ffi.new("uint32_t *")
        self._next += 1
        self._open[load.number] = load
        return load

    def chunk(self, params: Mapping[str, Any]) -> int:
        """route.load.chunk: whole lines. Rows so far, or the named error with its line."""
        load = self._find(params)
        text = params.get("text")
        if not isinstance(text, str) or len(text) > MAX_CHUNK:
            raise usage("E_CHUNK", f"text is at most {MAX_CHUNK} characters of whole lines")
        load.touched = time.monotonic()
        raw = text.encode()
        done = 0
        result = ffi.new("struct row_parse *")
        buffer = ffi.from_buffer(raw)
        limit = sum(self.core.fib.limits())
        while done < len(raw):
            rows = new_rows(BLOCK)
            failed = lib.rows_parse(
                buffer + done,
                len(raw) - done,
                1,
                rows,
                BLOCK,
                load.gateways,
                MAX_VIAS,
                load.n_gateways,
                result,
            )
            if failed:
                raise self._bad_line(load, raw, done, rows, result)
            if result.rows:
                load.blocks.append((rows, int(result.rows)))
                load.rows += int(result.rows)
            load.lines += int(result.line)
            if load.rows > limit:
                raise RibcageError(
                    "E_TABLE_FULL",
                    f"{load.rows} routes are more than the tables hold: {limit}",
                    "raise fib.max_routes4 or fib.max_routes6 and start the router again",
                    Exit.NO,
                )
            if result.consumed == 0:
                break
            done += int(result.consumed)
        return load.rows

    def abort(self, number: object) -> bool:
        """Forgets a load; False when there is none."""
        return isinstance(number, int) and self._open.pop(number, None) is not None

    async def commit(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """route.load.commit. All rows, or with `atomic` none, are in force and published."""
        load = self._find(params)
        wait = parse_word(params, "wait", "visible", WAITS)
        before = self.core.publisher.last
        del self._open[load.number]
        start = time.monotonic_ns()
        pinned = await assign(self.core, load)
        try:
            if load.atomic:
                await check(self.core, load)
            await apply(self.core, load, start)
        finally:
            for number in pinned:
                self.core.nexthops.unpin(number)
        publisher = self.core.publisher
        last = publisher.flush() or publisher.last
        reply: dict[str, Any] = (
            await self.finish(last, wait)
            if last is not None and last is not before  # else: nothing of it was new
            else {"generation": publisher.generation}
        )
        reply["routes"] = load.rows
        reply["seconds"] = round((time.monotonic_ns() - start) / 1e9, 6)
        return reply

    # -- finding

    def _find(self, params: Mapping[str, Any]) -> Load:
        number = params.get("id")
        load = self._open.get(number) if isinstance(number, int) else None
        if load is None:
            raise usage("E_LOAD", f"no load {number!r:.20} is open", "begin one")
        return load

    def _expire(self) -> None:
        now = time.monotonic()
        for number in [n for n, load in self._open.items() if now - load.touched > IDLE]:
            del self._open[number]

    def _bad_line(self, load: Load, raw: bytes, done: int, rows: Any, result: Any) -> RibcageError:
        """The error about one line; the load is over."""
        self._open.pop(load.number, None)
        lines = raw[done:].split(b"\n")
        number = int(result.line)
        text = lines[number - 1].decode("utf-8", "replace")[:80] if number else ""
        where = f"line {load.lines + number}: {text!r}"
        if result.error == lib.ROW_HOST_BITS:
            corrected = prefix_of(rows[int(result.rows)])
            return usage(
                "E_HOST_BITS",
                f"{where} has host bits set below /{corrected.prefixlen}",
                f"did you mean {corrected}? nothing was applied",
            )
        why = {
            lib.ROW_BAD_PREFIX: ("E_PREFIX", "is not ADDRESS/LENGTH and a next hop"),
            lib.ROW_BAD_LENGTH: ("E_PREFIX", "has a length out of range"),
            lib.ROW_BAD_NEXTHOP: ("E_NEXTHOP", _no_nexthop(text)),
            lib.ROW_TRAILING: ("E_PREFIX", "has more than two fields"),
        }.get(int(result.error), ("E_PREFIX", "is not a row"))
        return usage(why[0], f"{where} {why[1]}", "nothing was applied")


def _no_nexthop(line: str) -> str:
    """What is wrong with the second word of a line."""
    words = line.split("#")[0].split()
    if len(words) < 2:
        return "names no next hop"
    if words[1].isdecimal() and not words[1].strip("0"):
        return "names next hop 0; they are counted from 1"
    if words[1].isdecimal():
        return f"names next hop {words[1]}, which is too large a number"
    return "names neither a number nor an address as next hop"
