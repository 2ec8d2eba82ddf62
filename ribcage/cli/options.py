"""The global options, accepted anywhere on the line: `ribcage -j route show` = `ribcage route
show -j`. They are read before anything heavy is imported, so that even the report of a misspelt
command knows whether to be JSON.

Order of precedence: option, environment (RIBCAGE_INSTANCE, RIBCAGE_SOCKET, NO_COLOR), default.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ribcage.shared.errors import Exit, RibcageError

DEFAULT_TIMEOUT = 5.0
FLAGS = {
    "-j": "json", "--json": "json", "-p": "pretty", "--pretty": "pretty",
    "-q": "quiet", "--quiet": "quiet", "-v": "verbose", "--verbose": "verbose",
}  # fmt: skip
VALUES = {
    "-i": "instance", "--instance": "instance", "-s": "socket", "--socket": "socket",
    "--color": "color", "--timeout": "timeout",
}  # fmt: skip

VERSION = ("-V", "--version")

HELP = """\
Global options (before or after the command):
  -j, --json            one JSON document on stdout, also for errors
  -p, --pretty          indented JSON
  -i, --instance NAME   which router (default: $RIBCAGE_INSTANCE or r1)
  -s, --socket PATH     its management socket, instead of by name
  -q, --quiet           only errors on stderr
  -v, --verbose         more messages on stderr
  --color WHEN          auto, always or never (and NO_COLOR)
  --timeout S           seconds to wait for an answer (default 5)
  -V, --version         what is installed (ribcage version says more)
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the global options say; timeout None: the default of each command."""

    json: bool = False
    pretty: bool = False
    quiet: bool = False
    verbose: bool = False
    instance: str | None = None
    socket: Path | None = None
    color: str = "auto"
    timeout: float | None = None


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether -j stands anywhere, even on a line that cannot be read otherwise."""
    return any(word in ("--json", "-j") or (_cluster(word) and "j" in word) for word in arguments)


def split(arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """The global options and the rest of the line; E_USAGE for a bad value."""
    flags: dict[str, bool] = {}
    values: dict[str, str] = {}
    rest: list[str] = []
    version = False
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
            break
        if word in FLAGS:
            flags[FLAGS[word]] = True
        elif wrong := _stranger(word):
            raise _usage(f"there is no option -{wrong} in {word[:20]}")
        elif _cluster(word):
            flags.update({FLAGS[f"-{letter}"]: True for letter in word[1:]})
        elif name in VALUES and name.startswith("--") and equals:
            values[VALUES[name]] = value
        elif word in VERSION:
            version = True
        elif word in VALUES:
            if not words:
                raise _usage(f"option {word} needs a value")
            values[VALUES[word]] = words.pop(0)
        else:
            rest.append(word)
    socket = values.get("socket") or os.environ.get("RIBCAGE_SOCKET")
    options = Options(
        **flags,
        instance=values.get("instance"),
        socket=Path(socket) if socket else None,
        color=_color(values.get("color", "auto")),
        timeout=_timeout(values.get("timeout")),
    )
    return options, ["version"] if version else rest


def _stranger(word: str) -> str:
    """ "-jx": what is no flag among flags."""
    if len(word) < 3 or word[:2] not in FLAGS:
        return ""
    return next((letter for letter in word[1:] if f"-{letter}" not in FLAGS), "")


def _cluster(word: str) -> bool:
    """ "-jp": several flags of one letter."""
    return len(word) > 2 and word[0] == "-" and all(f"-{letter}" in FLAGS for letter in word[1:])


def _color(value: str) -> str:
    if value not in ("auto", "always", "never"):
        raise _usage(f"--color {value[:40]!r} is not one of: auto, always, never")
    return value


def _timeout(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0.01 <= seconds <= 86400:
        raise _usage(f"--timeout {value[:40]!r} is not a number of seconds in 0.01..86400")
    return seconds


def _usage(message: str) -> RibcageError:
    return RibcageError("E_USAGE", message, "see: ribcage --help", Exit.USAGE)
