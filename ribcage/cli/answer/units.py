"""Numbers as people read them: times, sizes, counts, ages. Pure."""

_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def micros(seconds_or_us: object) -> str:
    """A number of microseconds for people, three digits: "12 us", "2.9 ms", "1.2 s"."""
    if not isinstance(seconds_or_us, int | float):
        return "?"
    value = float(seconds_or_us)
    for unit, size in (("us", 1.0), ("ms", 1e3)):
        if float(f"{value / size:.3g}") < 1000:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e6:.3g} s" if value < 1e9 else f"{value / 1e6:.0f} s"


def size(count: object) -> str:
    """A number of bytes for people: "256 B", "95.0 MiB"."""
    if not isinstance(count, int | float):
        return "?"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def number(count: object) -> str:
    """A count for people: "1,200,000"."""
    return f"{count:,}" if isinstance(count, int) and not isinstance(count, bool) else str(count)


def rate(count: object, seconds: float, unit: str = "") -> str:
    """So many a second, three digits: "812k", "5.21M", "0"; with a unit "5.21 Mbit"."""
    if not isinstance(count, int | float) or isinstance(count, bool) or seconds <= 0:
        return "-"
    value = count / seconds
    for least, letter in _STEPS:
        if value >= least * 0.9995:
            return f"{value / least:.3g}{' ' if unit else ''}{letter}{unit}"
    return f"{value:.3g}{' ' + unit if unit else ''}"


def plural(count: object, noun: str) -> str:
    """ "1 route", "2 routes"."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def age(seconds: float) -> str:
    """How long ago, as routers write it: "00:05:12", "3d04h12m", "12w3d04h"."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days < 1:
        return f"{hours:02}:{minutes % 60:02}:{whole % 60:02}"
    if days < 7:
        return f"{days}d{hours % 24:02}h{minutes % 60:02}m"
    return f"{days // 7}w{days % 7}d{hours % 24:02}h"
