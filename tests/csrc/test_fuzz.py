"""Hostile bytes: each fuzz target as libFuzzer drives it, and by its own fixed sequence.

`make fuzz FOR=600` runs every target for so many seconds; what libFuzzer finds is left in
build/fuzz/TARGET and is the first thing tried the next time. The suite itself runs the fixed
sequences, which are the same in each run.
"""

import os
import shutil
from dataclasses import dataclass

import pytest

from tests.csrc.build import CSRC, FIB, build_c_test, rooms, run, run_c_test

ROOT = CSRC.parent
SECONDS = int(os.environ.get("RIBCAGE_FUZZ_SECONDS", "0"))
FLAGS = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-DLIBFUZZER")


@dataclass(frozen=True, slots=True)
class Target:
    """Its file, its sources, the longest input, and how many of the fixed sequence take a few
    seconds."""

    file: str
    sources: list[str]
    longest: int
    plain: int


PACKET = rooms("base", "packet")
ROWS = ["rows/rows.c", "rows/sort.c"]
TARGETS = {
    "packet": Target("packet/fuzz_packet.c", PACKET, 2048, 40_000),
    "rows": Target("rows/fuzz_rows.c", ROWS, 1024, 20_000),
    "segment": Target("fib/fuzz_segment.c", FIB, 193, 500),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_fixed_sequence_breaks_no_promise(name: str) -> None:
    """Random inputs, the same every time, with any compiler: no sanitizer report, and all that
    the target promises holds."""
    target = TARGETS[name]
    run_c_test(target.file, target.sources, target.plain)


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", TARGETS)
def test_the_fuzzer_finds_nothing(name: str) -> None:
    """The same target guided by coverage, for as long as `make fuzz` says."""
    if not SECONDS:
        pytest.skip("`make fuzz` runs it; the fixed sequences above are the suite's share")
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang (libFuzzer) is not installed")
    target = TARGETS[name]
    try:
        program = build_c_test(target.file, target.sources, compiler=clang, flags=FLAGS)
    except AssertionError as error:
        if "libclang_rt" in str(error):
            pytest.skip("clang has no sanitizer runtime (libclang-rt-dev) here")
        raise
    corpus = ROOT / "build" / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={SECONDS}", f"-max_len={target.longest}"]
    run(program, *limits, f"-artifact_prefix={corpus}/", corpus, patience=SECONDS + 60)
