"""Another build of this very tree, and a router moved to it. Not a test.

build = Build.copied(folder, {"dataplane/worker.py": "raise SystemExit\\n"})
story = upgrade(rig, build)
"""

import contextlib
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ribcage.lab.probe.traffic import StreamResult
from ribcage.lab.topology.router import wait_for
from ribcage.shared.build import PACKAGE, id_of
from ribcage.shared.errors import RibcageError
from tests.netns.router_rig import Rig

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Build:
    """An environment with a build of its own; `python` is its interpreter."""

    folder: Path
    id: str

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python3"

    @property
    def package(self) -> Path:
        return self.folder / "tree" / "ribcage"

    @classmethod
    def copied(cls, folder: Path, more: dict[str, str] | None = None) -> "Build":
        """The planes copied, with lines at the end of some files (a comment at least)."""
        package = folder / "tree" / "ribcage"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, package, symlinks=False, ignore=ignored)
        for name, text in {"__init__.py": "# another build\n", **(more or {})}.items():
            with (package / name).open("a") as file:
                file.write(text)
        (folder / "bin").mkdir()
        (folder / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
        home = Path(sys.executable).resolve().parent
        (folder / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = folder / "lib" / version / "site-packages"
        site.mkdir(parents=True)
        # Ours before those of the environment the tests run in, which has the libraries.
        paths = (folder / "tree", sysconfig.get_path("purelib"))
        (site / "build.pth").write_text("".join(f"{path}\n" for path in paths))
        return cls(folder, id_of(package))


# Every ring's position moves, and a reader of the other layout would take one MAC for the other.
OTHER_LAYOUT = {
    "layout/stats_layout.h": ("uint64_t unused[5];", "uint64_t unused[13];"),
    "layout/fib_layout.h": (
        "    uint8_t source_mac[6];\n    uint8_t target_mac[6];\n    uint8_t unused[2];",
        "    uint8_t target_mac[6];\n    uint8_t source_mac[6];\n    uint8_t unused[2];",
    ),
}


def compiled(folder: Path, changes: dict[str, tuple[str, str]] = OTHER_LAYOUT) -> Build:
    """A build whose C is another: half a minute."""
    made = Build.copied(folder)
    source = folder / "source"
    shutil.copytree(ROOT / "csrc", source / "csrc")
    for name, (old, new) in changes.items():
        path = source / "csrc" / name
        text = path.read_text()
        assert old in text, name
        path.write_text(text.replace(old, new, 1))
    code = "import sys; sys.path[:0] = ['csrc']; from ffi_build import ffibuilder as f; f.compile()"
    run = [sys.executable, "-c", code]
    subprocess.run(run, cwd=source, check=True, capture_output=True, text=True)
    (module,) = (source / "ribcage" / "shared").glob("_core*.so")
    shutil.copy(module, made.package / "shared" / module.name)
    return Build(folder, id_of(made.package))


def begin(built: Rig, build: Build, **params: Any) -> int:
    """Asks for it; its number."""
    answer = built.router.call("system.upgrade", python=str(build.python), **params)
    return int(answer["upgrade"])


def upgrade(built: Rig, build: Build, seconds: float = 90.0, **params: Any) -> dict[str, Any]:
    """The whole of it: the story once it has an end."""
    number = begin(built, build, **params)
    return ended(built, number, seconds)


def ended(built: Rig, number: int, seconds: float = 90.0) -> dict[str, Any]:
    """Waits for the end of an upgrade, whoever is control meanwhile."""

    def look() -> dict[str, Any] | None:
        with contextlib.suppress(RibcageError, OSError):
            story: dict[str, Any] = built.router.call("system.story")["story"]
            if story.get("number") == number and story["state"] != "running":
                return story
        return None

    return wait_for(f"the end of upgrade {number}", look, seconds)


def told(what: str, story: dict[str, Any], result: StreamResult) -> None:
    """Prints what was measured."""
    steps = ", ".join(f"{step['name']} {step['ms']} ms" for step in story["steps"])
    gaps = sorted(flow.longest_gap_ms for flow in result.flows.values())
    print(
        f"\nupgrade, {what}: {result.lost} of {result.sent} lost, {result.duplicates} twice,"
        f" {result.reordered} out of order; longest gap of a flow {gaps[-1]:.1f} ms"
        f" (median {gaps[len(gaps) // 2]:.1f}); {steps}"
    )
