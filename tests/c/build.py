"""Compiles one C test of this folder with the sources it needs and runs it under sanitizers.

Use: `run_c_test("test_x.c", ["x.c"], tmp_path)`; sources are names in csrc/. A failed CHECK, a
sanitizer's report or a signal fails the calling test with the program's own output.
"""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wvla")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


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
    command = [
        *shlex.split(compiler or os.environ.get("CC", "cc")),
        *("-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g"),
        *WARNINGS,
        *flags,
        *(f"-I{CSRC}", f"-I{HERE}", "-o", str(program), str(HERE / test)),
        *(str(CSRC / name) for name in sources),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return program


def run_c_test(
    test: str, sources: Sequence[str], tmp_path: Path, arguments: Sequence[str] = ()
) -> None:
    """Builds and runs; the exit status has to be 0."""
    program = build_c_test(test, sources, tmp_path)
    done = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
