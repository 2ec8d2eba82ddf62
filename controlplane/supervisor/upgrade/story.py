"""What an upgrade did so far, step by step, with times: carried across the exec, told to clients.

story = UpgradeStory.begin(from_build, python);  story.step("check");  story.ended("build 3f2a...")
"""

import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(slots=True)
class UpgradeStory:
    """`steps`: name, begun_ns (monotonic), ms (None: under way), note. `todo`: children to go."""

    number: int
    from_build: str
    python: str
    begun_ns: int
    force: bool = False
    to_build: str = ""
    state: str = RUNNING
    error: str | None = None
    hint: str | None = None
    back: str | None = None  # why the new build gave the state back
    ended_ns: int = 0
    layouts: list[str] = field(default_factory=list)  # kinds of segment of another layout
    todo: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.state == RUNNING

    def step(self, name: str) -> None:
        """Begins one."""
        self.steps.append({"name": name, "begun_ns": time.monotonic_ns(), "ms": None, "note": ""})

    def ended(self, note: str = "") -> None:
        """The step under way is done."""
        if self.steps and self.steps[-1]["ms"] is None:
            last = self.steps[-1]
            last["ms"] = round((time.monotonic_ns() - last["begun_ns"]) / 1e6, 1)
            last["note"] = note

    def end(self, state: str, error: str | None = None, hint: str | None = None) -> None:
        self.ended("" if error is None else "failed")
        self.state, self.error, self.hint = state, error, hint
        self.ended_ns = time.monotonic_ns()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "UpgradeStory | None":
        """None for none; fields of another build are left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{k: v for k, v in body.items() if k in known}) if body else None
