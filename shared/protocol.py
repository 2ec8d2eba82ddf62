"""Which versions of the channel a build speaks, and which one two builds agree on.

    OURS                                  # {"low": 1, "high": 1, "minor": 1, "build": "3f2a..."}
    theirs = Speaks.of(hello.body)        # what the other side said in its hello
    channel.version = agree(OURS, theirs) # the highest that both speak; E_BUILDS names both sides

A version (`v` of every message) changes when something a peer relies on changes. A minor counts
what was only added, a type or a field: who does not know it leaves it out and counts it. A hello is
read whatever its `v` is, so that two builds that cannot talk can at least say so. Any process.
"""

from dataclasses import dataclass
from typing import Any

from ribcage.shared.build import build_id
from ribcage.shared.errors import Exit, RibcageError

LOW, HIGH = 1, 1
MINOR = 1  # 1: hello says range and build, `welcome`, quiet and limit of `drain`
HELLO = "hello"


@dataclass(frozen=True, slots=True)
class Speaks:
    """Versions low..high, the newest with its first `minor` additions; `build`: who says so."""

    low: int = 1
    high: int = 1
    minor: int = 0
    build: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "minor": self.minor, "build": self.build}

    @classmethod
    def of(cls, hello: dict[str, Any]) -> "Speaks":
        """From a hello, or any object with the key; without it, a build from before there was a
        choice. E_BUILDS for what is no range: it comes from less trusted processes too."""
        body = hello.get("protocol")
        if body is None:
            return cls()
        if not isinstance(body, dict):
            raise RibcageError("E_BUILDS", f"protocol {body!r:.60} is not an object")
        low, high, minor = (body.get(name) for name in ("low", "high", "minor"))
        build = body.get("build")
        numbers = [n for n in (low, high, minor) if type(n) is int and 0 <= n < 1 << 16]
        if len(numbers) != 3 or not 0 < numbers[0] <= numbers[1] or not isinstance(build, str):
            raise RibcageError("E_BUILDS", f"protocol {body!r:.100} is no range of versions")
        return cls(numbers[0], numbers[1], numbers[2], build[:40])

    def newer_than(self, other: "Speaks") -> bool:
        """It may say what the other has no name for."""
        return (self.high, self.minor) > (other.high, other.minor)

    def __str__(self) -> str:
        return f"build {self.build or 'of old'} (channel {self.low} to {self.high})"


def ours() -> Speaks:
    """Of this process."""
    return Speaks(LOW, HIGH, MINOR, build_id())


def agree(mine: Speaks, theirs: Speaks) -> int:
    """The highest version that both speak. E_BUILDS (exit 7) names both sides."""
    version = min(mine.high, theirs.high)
    if version < max(mine.low, theirs.low):
        raise RibcageError(
            "E_BUILDS",
            f"no common version of the channel: {theirs}, this {mine}",
            exit_code=Exit.INTERNAL,
        )
    return version
