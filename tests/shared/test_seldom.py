"""Log lines that others can cause without end."""

from ribcage.shared.process.seldom import EVERY, KINDS, Seldom


def test_one_line_a_second_says_how_many_were_left_out() -> None:
    """A flood of one event does not hide another one, and what is left out is told later."""
    said: list[tuple[str, dict[str, object]]] = []
    clock = [100.0]
    seldom = Seldom(lambda level, event, **fields: said.append((event, fields)), lambda: clock[0])
    for number in range(1000):
        seldom.say("warning", "flood", number=number)
    assert seldom.say("warning", "other")
    clock[0] += EVERY
    seldom.say("warning", "flood", number=1000)
    clock[0] += EVERY
    seldom.say("warning", "flood", number=1001)
    assert said == [
        ("flood", {"number": 0}),
        ("other", {}),
        ("flood", {"number": 1000, "left_out": 999}),
        ("flood", {"number": 1001}),
    ]


def test_what_it_remembers_is_bounded() -> None:
    """Names without end share one line a second."""
    said: list[str] = []
    seldom = Seldom(lambda level, event, **fields: said.append(event), lambda: 1.0)
    for number in range(10_000):
        seldom.say("info", f"event.{number}")
    assert len(said) == KINDS + 1
