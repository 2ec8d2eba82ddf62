"""What `ribcage upgrade` tells at its end: each step, what was lost, who runs what."""

import time
from collections.abc import Iterator
from typing import Any

from ribcage.cli.answer.tables import table
from ribcage.cli.session import Session
from ribcage.shared.errors import Exit, RibcageError

HEADER = ("STEP", "MS", "WHAT")
LOSSES = ("rx-ring-full", "quiesced")
LOOK = 0.1  # between two questions
PASSING = (Exit.NO_DAEMON, Exit.TIMEOUT, Exit.INTERNAL)  # while control is being replaced
SHOWN = ("role", "index", "pid", "state", "restarts", "build")


class Unfinished(RibcageError):
    """Not everybody runs the new build; `details` is what -j adds to the error."""

    def __init__(self, story: dict[str, Any], details: dict[str, Any]) -> None:
        super().__init__("E_UPGRADE", str(story.get("error")), story.get("hint"), Exit.NO)
        self.details = details


def lines(answer: dict[str, Any], width: int | None) -> Iterator[str]:
    """For people."""
    story = answer["upgrade"]
    rows = [(one["name"], one["ms"], one.get("note") or "-") for one in story.get("steps", ())]
    yield from table(HEADER, rows, "MS", width, ("WHAT",))
    lost = answer["lost"]
    yield ""
    yield f"packets lost: {sum(lost.values())} ({', '.join(f'{k} {v}' for k, v in lost.items())})"
    for one in answer["processes"]:
        role = f"worker{one['index']}" if one["role"] == "worker" else one["role"]
        yield f"{role} pid {one['pid']} runs build {one['build']}"


def account(
    story: dict[str, Any], before: dict[str, Any], after: dict[str, Any], processes: dict[str, Any]
) -> dict[str, Any]:
    """The document of -j: the story, the drops between two answers of drops.show, who runs what.
    What counts as lost: the rings had no room, or a worker gave it up when it left."""
    then, now = _drops(before), _drops(after)
    return {
        "upgrade": story,
        "lost": {name: now.get(name, 0) - then.get(name, 0) for name in LOSSES},
        "processes": [
            {key: one.get(key) for key in SHOWN} for one in processes.get("processes", ())
        ],
    }


def builds(answer: dict[str, Any]) -> set[str]:
    """Of the processes that run."""
    return {str(one["build"]) for one in answer["processes"] if one["pid"] and one["build"]}


def _drops(answer: dict[str, Any]) -> dict[str, int]:
    return {str(row["reason"]): int(row["total"]) for row in answer.get("reasons", ())}


def watch_it(session: Session, number: object, end: float) -> dict[str, Any]:
    """The story once it has an end; its steps are told as they come."""
    said = 0
    while True:
        story = patient(session, "system.story", end).get("story") or {}
        if not story or (number is not None and story.get("number") != number):
            none = number is None
            why = "no upgrade yet" if none else "the supervisor began anew meanwhile"
            raise RibcageError("E_UPGRADE", f"{why}; `ribcage ps --long` shows who runs what",
                               exit_code=Exit.NO)  # fmt: skip
        done = [step for step in story.get("steps", ()) if step.get("ms") is not None]
        for step in done[said:]:
            session.output.say(f"{step['name']}: {step['ms']:g} ms {step.get('note', '')}".rstrip())
        said = max(said, len(done))
        if story.get("state") != "running":
            return story
        time.sleep(LOOK)


def patient(session: Session, method: str, end: float) -> dict[str, Any]:
    """Asks until there is an answer: who answers changes on the way."""
    while True:
        try:
            return session.call(method)
        except RibcageError as error:
            session.hang_up()
            if error.exit_code not in PASSING or time.monotonic() > end:
                raise
        time.sleep(LOOK)
