"""The frame functions under ASan and UBSan: C tests that Python only builds and runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.c.build import build_c_test, run_c_test

PACKET = [
    "address_class.c",
    "checksum.c",
    "finish.c",
    "flow_hash.c",
    "icmp.c",
    "packet_judge.c",
    "packet_parse.c",
    "rewrite.c",
]


def test_checksum_equals_reference(tmp_path: Path) -> None:
    """Sum and incremental update equal RFC 1071 at every length, alignment and TTL."""
    run_c_test("test_checksum.c", ["checksum.c"], tmp_path)


def test_flow_hash_spreads_evenly(tmp_path: Path) -> None:
    """Every input bit matters, consecutive flows spread, seeds choose independently."""
    run_c_test("test_flow_hash.c", ["flow_hash.c"], tmp_path)


def test_no_byte_outside_the_frame_is_read(tmp_path: Path) -> None:
    """Frames cut at every length, at odd addresses, in exact-size memory: no stray access."""
    run_c_test("test_packet.c", PACKET, tmp_path)


def test_limiter_holds_rate_and_burst(tmp_path: Path) -> None:
    """Token buckets and the per-source table keep their bounds whatever the clock does."""
    run_c_test("test_limiter.c", ["limiter.c"], tmp_path)


def test_mutated_frames_break_no_promise(tmp_path: Path) -> None:
    """A fixed sequence of random mutations: no sanitizer report, every invariant holds."""
    run_c_test("fuzz_packet.c", PACKET, tmp_path, ["40000"])


def test_fuzzer_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    """The libFuzzer target builds with clang and survives a few thousand guided inputs."""
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang (libFuzzer) is not installed")
    flags = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-DLIBFUZZER"]
    try:
        program = build_c_test("fuzz_packet.c", PACKET, tmp_path, compiler=clang, flags=flags)
    except AssertionError as error:
        if "libclang_rt" in str(error):
            pytest.skip("clang has no sanitizer runtime (libclang-rt-dev) here")
        raise
    done = subprocess.run(
        [str(program), "-runs=20000", "-seed=1", "-max_len=2048"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
