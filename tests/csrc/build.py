"""Compiles one C test of these folders with the sources it needs, and runs it.

Use: `program = build_c_test("fib/test_x.c", FIB)`, then `run(program, 1, 100)`. The test is a path
in tests/csrc/; sources are paths in csrc/, and `rooms("fib", ...)` names all of a room. A failed
CHECK, a sanitizer's report or a signal fails the calling test with the program's own output and
the line that runs it again: the program is still there (objects.py).
"""

import os
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tests.csrc.objects import ROOT, Store

HERE = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wvla")
LANGUAGE = ("-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g1", *WARNINGS, f"-I{CSRC}", f"-I{HERE}")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
PATIENCE_S = 100.0


def rooms(*names: str) -> list[str]:
    """Every C file of these rooms of csrc/, as paths in it."""
    found = (path for name in names for path in (CSRC / name).rglob("*.c"))
    return sorted(str(path.relative_to(CSRC)) for path in found)


# What a FIB is made of, from the identity line of its segment up.
FIB = rooms("base", "segment", "rows", "arena", "engines", "bank", "sync", "fib")
RIB = rooms("segment", "rows", "rib")


@cache
def store() -> Store:
    """build/tests, or a folder of the user's own where that is another's."""
    folder = ROOT / "build" / "tests"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "writable").touch()
    except PermissionError:
        folder = Path(tempfile.gettempdir()) / f"ribcage-tests-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        assert stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid(), f"whose is {folder}?"
    made = Store(folder)
    made.remove_old()
    return made


def build_c_test(
    test: str,
    sources: Sequence[str],
    *,
    compiler: str | None = None,
    flags: Sequence[str] = SANITIZE,
) -> Path:
    """The path of the compiled program; AssertionError with the compiler's words."""
    words = shlex.split(compiler or os.environ.get("CC", "cc"))
    files = [HERE / test, *(CSRC / name for name in sources)]
    own = [*LANGUAGE, *(flag for flag in flags if not flag.startswith("-Wl,"))]  # or clang objects
    with ThreadPoolExecutor(2) as two:
        objects = list(two.map(lambda file: store().compiled(file, words, own), files))
    return store().linked(Path(test).stem, words, flags, objects)


def run(
    program: Path,
    *arguments: object,
    patience: float = PATIENCE_S,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    may_exit: Sequence[int] = (0,),
) -> "subprocess.CompletedProcess[str]":
    """What the program said; its exit status has to be one of `may_exit`. `env` is added to the
    environment, `before` are words in front of the program's own."""
    command = [*before, str(program), *map(str, arguments)]
    settings = [f"{name}={value}" for name, value in (env or {}).items()]
    line = shlex.join([*(["env"] if env else []), *settings, *command])
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"not done within {patience:g} s\nrun it alone: {line}") from error
    if done.returncode not in may_exit:
        raise AssertionError(
            f"exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}\nrun it alone: {line}"
        )
    return done


def run_c_test(test: str, sources: Sequence[str], *arguments: object) -> None:
    """Builds with sanitizers and runs."""
    run(build_c_test(test, sources), *arguments)
