"""Compiles one C test of this folder with the sources it needs and runs it under sanitizers.

Use: `run_c_test("test_x.c", ["x.c"], tmp_path)`; sources are paths in csrc/;
`rooms("fib", ...)` names all of a room. A failed CHECK, a
sanitizer's report or a signal fails the calling test with the program's own output.

The FIB alone is two dozen files that a dozen tests need with the same flags: each is compiled once
a session and a set of flags, two at a time, into a folder that pytest makes and removes.
"""

import fcntl
import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wvla")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
PATIENCE_S = 300  # a guard against hanging: one file takes seconds
CACHE: list[Path] = []  # the session's folder, set by conftest.py


def rooms(*names: str) -> list[str]:
    """Every C file of these rooms of csrc/, as paths in it."""
    found = (path for name in names for path in (CSRC / name).rglob("*.c"))
    return sorted(str(path.relative_to(CSRC)) for path in found)


# What a FIB is made of, from the identity line of its segment up.
FIB = rooms("base", "segment", "rows", "arena", "engines", "bank", "sync", "fib")
RIB = rooms("segment", "rows", "rib")


def build_c_test(
    test: str,
    sources: Sequence[str],
    tmp_path: Path,
    *,
    compiler: str | None = None,
    flags: Sequence[str] = SANITIZE,
) -> Path:
    """The path of the compiled program; AssertionError with the compiler's words."""
    program = tmp_path / Path(test).stem
    words = shlex.split(compiler or os.environ.get("CC", "cc"))
    cache = CACHE[0] if CACHE else tmp_path
    files = [HERE / test, *(CSRC / name for name in sources)]
    with ThreadPoolExecutor(2) as two:
        objects = list(two.map(lambda file: _compiled(file, words, flags, cache), files))
    _run([*words, *flags, "-o", str(program), *map(str, objects)])
    return program


def _compiled(file: Path, words: Sequence[str], flags: Sequence[str], cache: Path) -> Path:
    """The object of one file. Two that want the same at once, threads or processes: the second
    waits for the first and finds it done."""
    own = [flag for flag in flags if not flag.startswith("-Wl,")]  # clang objects to the rest
    command = [*words, "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", *WARNINGS, *own]
    command += [f"-I{CSRC}", f"-I{HERE}", "-c", str(file)]
    name = hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
    made = cache / f"{file.stem}-{name}.o"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            part = made.with_suffix(".part")
            _run([*command, "-o", str(part)])
            part.rename(made)
    return made


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


def side_by_side(commands: Iterable[Sequence[str]], patience: float) -> None:
    """Runs programs two at a time; each exit status has to be 0."""
    with ThreadPoolExecutor(2) as two:
        for done in list(two.map(lambda command: finished(command, patience), commands)):
            assert done.returncode == 0, report(done)


def finished(command: Sequence[str], patience: float) -> subprocess.CompletedProcess[str]:
    """What a program said and how it ended."""
    return subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)


def report(done: subprocess.CompletedProcess[str]) -> str:
    return f"exit {done.returncode}\n{done.stdout}{done.stderr[-4000:]}"


def run_c_test(
    test: str, sources: Sequence[str], tmp_path: Path, arguments: Sequence[str] = ()
) -> None:
    """Builds and runs; the exit status has to be 0."""
    program = build_c_test(test, sources, tmp_path)
    done = finished([str(program), *arguments], 100)
    assert done.returncode == 0, report(done)
