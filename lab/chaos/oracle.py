"""Where a packet may go: wherever a table that was in force between its send and its arrival says.

    prefix = Possible(t, None)
    prefix.asked(t1, 2)        # a command to lead it to sink 2 was sent: from now on it may
    prefix.confirmed(t2, 2)    # and was acknowledged: from now on it must
    prefix.between(a, b)       # the values that were possible at some moment of a..b

A command without an answer leaves old and new possible until a later one is acknowledged.
Times are nanoseconds of CLOCK_MONOTONIC. Pure.
"""

from collections.abc import Iterable

Value = int | None  # a sink, or None: the prefix has no route of its own


class Possible:
    """The values of one prefix over time."""

    def __init__(self, since: int = 0, value: Value = None) -> None:
        self._now: dict[Value, int] = {value: since}
        self._past: list[tuple[int, int, Value]] = []

    def asked(self, when: int, value: Value) -> None:
        self._now.setdefault(value, when)

    def confirmed(self, when: int, value: Value) -> None:
        for other in [other for other in self._now if other != value]:
            self._past.append((self._now.pop(other), when, other))
        self._now.setdefault(value, when)

    def between(self, begin: int, end: int) -> set[Value]:
        found = {value for value, since in self._now.items() if since <= end}
        found |= {value for since, until, value in self._past if since <= end and until >= begin}
        return found

    def forget(self, before: int) -> None:
        """What ended before that moment is not asked for any more."""
        self._past = [one for one in self._past if one[1] >= before]


def allowed(moved: Possible, home: int, begin: int, end: int, doubtful: Iterable[int]) -> set[int]:
    """The sinks a packet may reach. Through the moved prefix, else through the static route; a
    next hop whose link is in doubt may also be given up, and the covering route used."""
    values = moved.between(begin, end)
    sinks = {value for value in values if value is not None}
    if None in values or sinks & set(doubtful):
        sinks.add(home)
    return sinks
