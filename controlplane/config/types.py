"""The types of configuration values: what each may be, and what is said when it is not.

Each name below goes into an `Annotated` of model.py. A refusal is a PydanticCustomError whose
type is our code; its text says {key} where the key's name belongs. Pure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from ribcage.controlplane.config.toml.suggest import closest
from ribcage.controlplane.values.addresses import (
    AddressError,
    read_interface,
    read_nexthop,
    read_prefix,
)

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s?(us|ms|s|m|min|h)")
_OCTAL = re.compile(r"0?[0-7]{3}")
_RANGE = re.compile(r"([0-9]{1,10})-([0-9]{1,10})")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
ACCOUNT = re.compile(r"@?(?:[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_.-]{0,31})")
GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


def refuse(code: str, text: str, hint: str | None = None) -> NoReturn:
    """Raises the refusal; pydantic collects it with its place."""
    # Text goes in as a value: pydantic would take braces in a message for its own.
    raise PydanticCustomError(code, "{text}", {"text": text, "hint": hint})


def between(low: int, high: int, hint: str | None = None) -> AfterValidator:
    """A whole number in low..high."""

    def check(value: int) -> int:
        if not low <= value <= high:
            refuse("E104", f"{{key}} {value} is outside {low}..{high}", hint)
        return value

    return AfterValidator(check)


def count_or_auto(high: int) -> BeforeValidator:
    """A whole number from 1, or "auto", which is 0 from here on."""

    def check(value: Any) -> int:
        if value == "auto":
            return 0
        if isinstance(value, bool) or not isinstance(value, int):
            hint = 'write "auto", or a number without quotes' if isinstance(value, str) else None
            refuse("E102", f'{{key}} must be a whole number or "auto", not {kind_of(value)}', hint)
        if not 1 <= value <= high:
            refuse("E104", f"{{key}} {value} is outside 1..{high}", 'or count = "auto"')
        return value

    return BeforeValidator(check)


def one_of(*known: str, later: Sequence[str] = (), usual: bool = True) -> AfterValidator:
    """One of the known words; later are words of the manual that this build does not have.
    `usual`: the first is what to write when nothing else is near."""

    def check(value: str) -> str:
        if value in known:
            return value
        hint: str | None
        if value in later:
            hint = f'"{value}" is not in this build; write "{known[0]}"'
        elif guess := closest(value, known):
            hint = f'did you mean "{guess}"?'
        else:
            hint = f'write "{known[0]}"' if usual else None
        refuse("E103", f"{{key}} = {value!r:.60} is not one of: {', '.join(known)}", hint)

    return AfterValidator(check)


def duration(low: float, high: float, example: str) -> BeforeValidator:
    """Text with a unit, "120s" or "1ms", as seconds."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            refuse("E102", f'{{key}} must be a duration such as "{example}", not {kind_of(value)}')
        if not isinstance(value, str):
            refuse("E102", f"{{key}} needs a unit: {value} of what?", f'such as "{value}s"')
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            refuse("E102", f"{{key}} = {value!r:.40} is not a duration", f'such as "{example}"')
        seconds = float(found[1]) * _UNITS[found[2]]
        if not low <= seconds <= high:
            refuse("E104", f"{{key}} {value} is outside {_seconds(low)}..{_seconds(high)}")
        return seconds

    return BeforeValidator(check)


def file_mode() -> BeforeValidator:
    """An octal mode as text, "0660", as a number."""

    def check(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            refuse("E102", "{key} must be a string of octal digits", f'"{value:04d}"')
        if not isinstance(value, str) or not _OCTAL.fullmatch(value):
            refuse("E102", f"{{key}} = {value!r:.20} is not a file mode", 'such as "0660"')
        return int(value, 8)

    return BeforeValidator(check)


def user_range() -> BeforeValidator:
    """ "61000-61063": uids of our own, one per process; never root nor nobody. "off": none."""

    def check(value: Any) -> tuple[int, int] | None:
        if value == "off":
            return None
        found = _RANGE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            refuse("E102", f"{{key}} = {value!r:.40} is not a range", 'such as "61000-61063"')
        low, high = int(found[1]), int(found[2])
        if not 1 <= low <= high <= 4_294_967_294:
            refuse(
                "E104",
                f"{{key}} {value} is not a range of uids",
                'the lower one first, and not 0, which is root: such as "61000-61063"',
            )
        if low <= 65534 <= high:
            refuse(
                "E104",
                f"{{key}} {value} holds 65534 (nobody), which others share",
                'such as "61000-61063"',
            )
        return low, high

    return BeforeValidator(check)


def _named(pattern: re.Pattern[str], what: str, hint: str | None = None) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value) or value.endswith("\n"):
            refuse("E116", f"{{key}} = {value!r:.50} is not {what}", hint)
        return value

    return AfterValidator(check)


def instance_name() -> AfterValidator:
    return _named(_INSTANCE, "a name of 1-32 letters, digits, '_', '.', '-'")


def interface_name() -> AfterValidator:
    return _named(_INTERFACE, "an interface name (1-15 letters, digits, '_', '.', '-')")


def group_name() -> AfterValidator:
    return _named(GROUP, "a group's name")


def account_name() -> AfterValidator:
    """A user's name or number, or "@" and a group's."""
    return _named(ACCOUNT, "a user or a group", 'a user is "alice" or "1000", a group "@netops"')


def _address(read: Callable[[str], object], hint: str | None = None) -> AfterValidator:
    """Text that one of addresses.py accepts, in canonical form."""

    def check(value: str) -> str:
        try:
            return str(read(value))
        except AddressError as error:
            told = error.hint
            if error.code == "E107" and hint is not None:
                told = f"{told} ({hint})"
            refuse(error.code, error.message, told)

    return AfterValidator(check)


def prefix() -> AfterValidator:
    return _address(read_prefix, "an address of this router goes under [[interface]]")


def interface_address() -> AfterValidator:
    return _address(read_interface)


def nexthop_address() -> AfterValidator:
    return _address(read_nexthop)


def renamed(words: Mapping[str, str]) -> BeforeValidator:
    """An old word, old -> new: it stays valid, and means the new one."""

    def check(value: Any) -> Any:
        return words.get(value, value) if isinstance(value, str) else value

    return BeforeValidator(check)


def dotted_id() -> AfterValidator:
    """Four numbers with dots; any but 0.0.0.0 (RFC 4271 4.2, RFC 6286)."""

    def check(value: str) -> str:
        parts = value.split(".")
        plain = all(p.isascii() and p.isdecimal() and p == str(int(p)) for p in parts if len(p) < 4)
        if len(parts) != 4 or not plain or any(len(p) > 3 or int(p) > 255 for p in parts):
            refuse("E110", f"{{key}} = {value!r:.40} is not four numbers", 'such as "192.0.2.1"')
        if value == "0.0.0.0":
            refuse("E112", "{key} 0.0.0.0 means no router", 'such as "192.0.2.1"')
        return value

    return AfterValidator(check)


def listed() -> BeforeValidator:
    """One string stands for a list of one."""
    return BeforeValidator(lambda value: [value] if isinstance(value, str) else value)


def kind_of(value: object) -> str:
    """A TOML value's type in words."""
    words: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number with a fraction"),
        (str, "a string"),
        (list, "a list"),
        (dict, "a table"),
    )
    return next((word for kind, word in words if isinstance(value, kind)), "a date or time")


def _seconds(value: float) -> str:
    for unit, size in (("h", 3600.0), ("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value * 1e6:g}us" if value else "0s"
