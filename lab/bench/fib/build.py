"""The C programs beside this file, compiled into build/bench/ when they are needed.

    program = build("ribcage_fib")        # a Path; E_BUILD with the compiler's words
    dpdk_missing()                        # None, or the error that says what to install

A program is compiled again when one of its sources, a header, or the flags have changed (their
hash is part of its name). Our own files never see DPDK's flags; the FIB's C files are compiled as
the installed module is: -O3, no -march.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ribcage.lab.tables import ROOT
from ribcage.shared.errors import Exit, RibcageError

HERE = Path(__file__).resolve().parent / "programs"
CSRC = ROOT / "csrc"
OUT = ROOT / "build" / "bench"
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O3", "-g1", "-fstack-protector-strong",
         "-D_FORTIFY_SOURCE=2", "-Wall", "-Wextra", "-Werror")  # fmt: skip
DPDK_APT = "apt-get install -y libdpdk-dev"
# The rooms of csrc/ that the table is made of.
FIB_ROOMS = ("base", "segment", "rows", "arena", "engines", "bank", "sync", "fib")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one program is made of."""

    own: tuple[str, ...]
    fib: bool = False
    package: str | None = None  # of pkg-config
    flags: tuple[str, ...] = ()


RECIPES = {
    "ribcage_fib": Recipe(
        ("ribcage_fib.c", "ribcage_others.c", "ribcage_locks.c", "harness.c"),
        fib=True,
        flags=("-Wshadow", "-Wconversion", "-Wvla"),  # DPDK's headers do not stand these
    ),
    "dpdk_fib": Recipe(
        ("dpdk_fib.c", "dpdk_fib4.c", "dpdk_fib6.c", "harness.c"),
        package="libdpdk",
        flags=("-Wno-deprecated-declarations",),
    ),
}


def build(name: str) -> Path:
    """The program's path, compiled if it has to be. E_BENCH_SOURCE, E_COMPILER, E_BUILD."""
    recipe = RECIPES[name]
    if not (HERE / "harness.c").is_file() or not CSRC.is_dir():
        raise RibcageError(
            "E_BENCH_SOURCE",
            f"the C sources of the benchmark are not in {HERE} and {CSRC}",
            "run it from a source tree: git clone, make build",
            Exit.PRIVILEGE,
        )
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise RibcageError(
            "E_COMPILER",
            f"there is no C compiler {compiler[0]!r}",
            "apt-get install -y gcc libc6-dev, or set CC",
            Exit.PRIVILEGE,
        )
    sources = _sources(recipe)
    include, link = _package(recipe.package)
    compile_line = [*compiler, *FLAGS, *recipe.flags, f"-I{CSRC}", f"-I{HERE}", *include]
    folder = OUT / f"{name}-{_digest(sources, [*compile_line, *link])}"
    program = folder / name
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / f"{name}.lock").open("w") as lock:  # one build at a time, whoever asks
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.is_file():
            for old in OUT.glob(f"{name}-*"):
                shutil.rmtree(old, ignore_errors=True)
            folder.mkdir()
            _make(program, sources, compile_line, link)
    return program


def dpdk_missing() -> RibcageError | None:
    """None when libdpdk can be built against."""
    found = shutil.which("pkg-config") is not None and (
        subprocess.run(["pkg-config", "--exists", "libdpdk"], check=False).returncode == 0
    )
    if found:
        return None
    return RibcageError(
        "E_NO_DPDK",
        "pkg-config finds no libdpdk on this machine",
        f"as root: {DPDK_APT} pkg-config; or leave out --against dpdk",
        Exit.PRIVILEGE,
    )


def dpdk_version() -> str:
    return _run(["pkg-config", "--modversion", "libdpdk"]).strip()


def _sources(recipe: Recipe) -> list[Path]:
    sources = [HERE / name for name in recipe.own]
    if recipe.fib:
        found = {path for room in FIB_ROOMS for path in (CSRC / room).rglob("*.c")}
        sources += sorted(found)
    return sources


def _package(name: str | None) -> tuple[list[str], list[str]]:
    if name is None:
        return [], ["-lm"]
    include = shlex.split(_run(["pkg-config", "--cflags", name]))
    link = shlex.split(_run(["pkg-config", "--libs", name]))
    return include, ["-Wl,--as-needed", *link, "-lm"]


def _digest(sources: list[Path], line: list[str]) -> str:
    digest = hashlib.sha256(" ".join(line).encode())
    for path in [*sources, *sorted(CSRC.rglob("*.h")), *sorted(HERE.glob("*.h"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _make(program: Path, sources: list[Path], compile_line: list[str], link: list[str]) -> None:
    folder = program.parent
    # Files of different rooms have one name: numbered.
    objects = [folder / f"{i}-{path.stem}.o" for i, path in enumerate(sources)]
    lines = [
        [*compile_line, "-c", str(source), "-o", str(target)]
        for source, target in zip(sources, objects, strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(_run, lines))
    unfinished = folder / "linking"
    compiler = compile_line[: compile_line.index(FLAGS[0])]
    _run([*compiler, *map(str, objects), "-o", str(unfinished), *link])
    unfinished.rename(program)


def _run(line: list[str]) -> str:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RibcageError(
            "E_BUILD",
            f"{shlex.join(line[:1])} ended with {done.returncode}: {done.stderr.strip()[:2000]}",
            f"the line was: {shlex.join(line)}"[:1000],
            Exit.INTERNAL,
        )
    return done.stdout
