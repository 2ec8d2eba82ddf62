"""Lookup engines by name: the words of `fib.lookup4` and `fib.lookup6`, and their numbers.

    engines(4)                  {"compact": 2, ...}: this build's, for one family, the default first
    engine_id(4, "compact")     the number in geometry.engine4; E_ENGINE names what there is
    engine_name(2, 4)           and back

Any process; the list is the C table's (csrc/engines/table.h), so a new engine is here by itself.
"""

from collections.abc import Iterator

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import Exit, RibcageError


def engine_name(number: int, family: int) -> str | None:
    """None: this build has no such engine, or it does not serve the family (4, 6)."""
    name = lib.fib_engine_name(number, family)
    return None if name == ffi.NULL else ffi.string(name).decode()


def engines(family: int) -> dict[str, int]:
    """Engines of this build that serve the family, by name, the default first."""
    return {str(engine_name(number, family)): number for number in _numbers(family)}


def default_engine(family: int) -> str:
    """The engine a segment gets when nobody says which."""
    return next(iter(engines(family)))


def _numbers(family: int) -> Iterator[int]:
    position = 0
    while number := int(lib.fib_engine_at(position, family)):
        yield number
        position += 1


def engine_id(family: int, name: str) -> int:
    """The default's for "". E_ENGINE with the list: a plan of another build may ask for what this
    one does not have."""
    known = engines(family)
    name = name or default_engine(family)
    if name not in known:
        raise RibcageError(
            "E_ENGINE",
            f"this build has no IPv{family} engine {name[:40]!r}",
            f"fib.lookup{family} is one of: {', '.join(known)}",
            Exit.CONFIG,
        )
    return known[name]
