"""Tries a new build before the supervisor becomes it: a child of that build reads our state.

    print(report(package, imports))            # the new build: what it is, or an error and exit 7
    verdict = Report.read(out); verdict.against(...)    # the old one: E_UPGRADE, or it will do

What can be found by importing every role and reading the state is found here, while nothing has
changed: a missing file, a syntax error, a state or a channel it cannot read, another layout.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ribcage.controlplane.supervisor.context import Settings
from ribcage.controlplane.supervisor.statefile import State
from ribcage.controlplane.supervisor.upgrade.image import Image
from ribcage.controlplane.supervisor.upgrade.trust import refused
from ribcage.shared.build import VERSION
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.identity import layouts
from ribcage.shared.plan import PlanError
from ribcage.shared.process.names import Names
from ribcage.shared.protocol import Speaks, agree, ours


@dataclass(frozen=True, slots=True)
class Report:
    """What a build says of itself; `package`: the folder it was loaded from."""

    build: str
    version: str
    package: str
    layouts: dict[str, str]

    @classmethod
    def read(cls, out: bytes) -> "Report":
        """E_UPGRADE when it is none."""
        try:
            body: dict[str, Any] = json.loads(out)
            return cls(
                str(body["build"]), str(body["version"]), str(body["package"]),
                {str(name): str(value) for name, value in body["layouts"].items()},
            )  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise refused(f"the new build printed no report: {error!r:.100}") from error

    def other_layouts(self, kept: set[str]) -> list[str]:
        """The kinds of segment that are not ours. E_UPGRADE, with both sides, when one of them is
        among `kept`: what it holds is nowhere else."""
        mine = layouts()
        differing = [name for name, value in mine.items() if self.layouts.get(name) != value]
        if lost := kept & set(differing):
            both = (f"{n} {self.layouts.get(n, 'none')}, running {mine[n]}" for n in sorted(lost))
            raise refused(
                f"build {self.build} has another layout: {'; '.join(both)}",
                "stop the router, and start it with the new build",
            )
        return differing


def report(package: str, imports: Callable[[], object]) -> dict[str, Any]:
    """Reads the state on standard input as the new supervisor would; `imports` loads every role.

    RibcageError, or whatever importing raises."""
    image = Image.load(0)
    try:
        Settings.parse(image.settings)
        names = Names.from_json(image.names)
        State.from_json(image.state, names.instance)
        for child in image.children:
            agree(ours(), Speaks.of({"protocol": child["speaks"]}))
    except (PlanError, KeyError, TypeError, ValueError) as error:
        raise RibcageError("E_IMAGE", f"state of the other build: {error}", None,
                           Exit.INTERNAL) from error  # fmt: skip
    imports()
    return asdict(Report(ours().build, VERSION, package, layouts()))
