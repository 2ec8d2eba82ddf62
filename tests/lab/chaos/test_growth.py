"""Whether memory and descriptors are bounded: told of roles, after warming up, from samples."""

from typing import Any

from ribcage.lab.chaos.growth import Growth


def grown(*sizes: int, key: str = "rss_kb") -> list[str]:
    growth = Growth(None, every=60.0)  # type: ignore[arg-type]  # nothing is looked at here
    for number, size in enumerate(sizes):
        facts: dict[str, Any] = {"rss_kb": 10_000, "fds": 40} | {key: size}
        growth.samples.append({"t_s": number * 60.0, "processes": {"control": facts}})
    found: list[str] = growth.to_json()["grown"]
    return found


def test_what_stays_as_it_is_or_warms_up_is_bounded() -> None:
    """Growth in the first third, then none; and noise."""
    assert grown(*[50_000] * 30) == []
    assert grown(*range(10_000, 60_000, 5_000), *[60_000, 61_000] * 15) == []


def test_memory_that_grows_without_end_is_told_with_the_role() -> None:
    """A megabyte a minute for half an hour."""
    found = grown(*range(50_000, 110_000, 2_000))
    assert len(found) == 1 and found[0].startswith("control: rss_kb from")


def test_descriptors_that_leak_are_told() -> None:
    """One a minute; beside memory that stays."""
    assert grown(*range(40, 130), key="fds")[0].startswith("control: fds from")


def test_too_few_samples_say_nothing() -> None:
    """A minute of a run proves neither."""
    assert grown(1, 1_000_000) == []
