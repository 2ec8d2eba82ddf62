"""Routes as people type them: `DST [TYPE] [via ADDR] [dev NAME] [weight N] ... [metric N]`.

iproute2's words, read strictly; the same words `route show` prints. A mistake is a RibcageError
with exit 2 that quotes the word and says what fits there. Pure.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ribcage.cli.session import usage
from ribcage.controlplane.config.toml.suggest import closest
from ribcage.controlplane.values.addresses import (
    AddressError,
    read_host,
    read_nexthop,
    read_prefix,
)
from ribcage.shared.errors import RibcageError

TYPES = ("blackhole", "unreachable", "prohibit")
KEYS = ("via", "dev", "weight", "metric", "distance", "nexthop", *TYPES)
T = TypeVar("T")


def address_error(error: AddressError) -> RibcageError:
    return usage(error.message, error.hint, error.code)


def checked(read: Callable[[str], T], text: str) -> T:
    """read(text), its refusal as exit 2."""
    try:
        return read(text)
    except AddressError as error:
        raise address_error(error) from None


DEFAULTS = {"default": "0.0.0.0/0", "default4": "0.0.0.0/0", "default6": "::/0"}


def prefix(text: str) -> str:
    """A destination; "default" is 0.0.0.0/0, and one address is its host route."""
    if text in DEFAULTS:
        return DEFAULTS[text]
    if "/" not in text:
        host = checked(read_host, text)
        text = f"{host}/{host.max_prefixlen}"
    return str(checked(read_prefix, text))


def host(text: str) -> str:
    return str(checked(read_host, text))


def nexthop(text: str) -> str:
    return str(checked(read_nexthop, text))


def route(words: Sequence[str]) -> dict[str, Any]:
    """The parameters of route.add: {dst, type, nexthops, metric, distance?}."""
    todo = list(words)
    answer: dict[str, Any] = {"type": "forward", "nexthops": [], "metric": 0}
    if todo and todo[0] in TYPES and len(todo) > 1:  # `blackhole 203.0.113.0/24`, as ip has it
        answer["type"] = todo.pop(0)
    given = todo.pop(0)
    answer["dst"] = prefix(given)
    hops: list[dict[str, Any]] = answer["nexthops"]
    while todo:
        word = todo.pop(0)
        if word in TYPES:
            answer["type"] = word
        elif word == "nexthop":  # opens another, as ip has it; `via` does so too
            hops.append({})
        elif word == "via":
            _hop(hops, "via")["via"] = nexthop(_value(todo, word))
        elif word == "dev":
            _hop(hops, "dev")["dev"] = _device(_value(todo, word))
        elif word == "weight":
            if not hops:
                raise usage("weight belongs after a next hop", "via ADDR weight N")
            hops[-1]["weight"] = _number(_value(todo, word), word, 1, 255)
        elif word == "metric":
            answer["metric"] = _number(_value(todo, word), word, 0, 4_294_967_295)
        elif word == "distance":
            answer["distance"] = _number(_value(todo, word), word, 1, 254)
        else:
            raise _unknown(word)
    if given == "default" and any(":" in hop.get("via", "") for hop in hops):
        answer["dst"] = DEFAULTS["default6"]  # the family of a default route is its next hop's
    _agree(answer)
    return answer


def selector(words: Sequence[str]) -> dict[str, Any]:
    """The parameters of route.del: {dst, via?, dev?, metric?}."""
    todo = list(words)
    given = todo.pop(0)
    answer: dict[str, Any] = {"dst": prefix(given)}
    while todo:
        word = todo.pop(0)
        if word == "via":
            answer["via"] = nexthop(_value(todo, word))
        elif word == "dev":
            answer["dev"] = _device(_value(todo, word))
        elif word == "metric":
            answer["metric"] = _number(_value(todo, word), word, 0, 4_294_967_295)
        else:
            raise _unknown(word)
    if given == "default" and ":" in answer.get("via", ""):
        answer["dst"] = DEFAULTS["default6"]
    return answer


def _hop(hops: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """The next hop that key belongs to: the last one, unless that has it already."""
    if not hops or key in hops[-1] or (key == "via" and hops[-1]):
        hops.append({})
    return hops[-1]


def _agree(answer: dict[str, Any]) -> None:
    hops = answer["nexthops"]
    if answer["type"] != "forward" and hops:
        raise usage(f"a route of type {answer['type']} has no next hop", "leave via and dev out")
    if answer["type"] == "forward" and (not hops or not all(hops)):
        raise usage(
            f"where should {answer['dst']} go?",
            "via ADDR, dev NAME, or one of: " + ", ".join(TYPES),
        )
    if len(hops) > 1 and any("via" not in hop for hop in hops):
        raise usage("a next hop without via must be the only one", "give each its own via", "E115")
    version = ":" in answer["dst"]
    for hop in hops:
        if "via" in hop and (":" in hop["via"]) != version:
            raise usage(
                f"next hop {hop['via']} is not of the family of {answer['dst']}", code="E115"
            )
        if hop.get("via", "").startswith("fe80") and "dev" not in hop:
            raise usage(f"next hop {hop['via']} is link-local", "add: dev NAME", "E111")


def _value(todo: list[str], word: str) -> str:
    if not todo:
        raise usage(f"{word} needs a value after it")
    return todo.pop(0)


def _device(text: str) -> str:
    if not 1 <= len(text) <= 15 or not text.isprintable() or "/" in text or " " in text:
        raise usage(f"{text[:40]!r} is not an interface name", code="E116")
    return text


def _number(text: str, word: str, low: int, high: int) -> int:
    if re.fullmatch(r"-?[0-9]{1,12}", text) is None:
        raise usage(f"{word} {text[:20]!r} is not a whole number", code="E102")
    if not low <= int(text) <= high:
        raise usage(f"{word} {text} is outside {low}..{high}", code="E104")
    return int(text)


def _unknown(word: str) -> RibcageError:
    if word.startswith("-"):  # typer leaves what it does not know, for the sake of `metric -1`
        guess = closest(word.lstrip("-"), ("wait", "dry-run"))
        return usage(
            f"there is no option {word[:40]}",
            f"did you mean --{guess}?" if guess else "options: --wait, --dry-run",
        )
    guess = closest(word, KEYS)
    hint = f"did you mean {guess}?" if guess else f"known words: {', '.join(KEYS)}"
    return usage(f"what does {word[:40]!r} mean here?", hint)
