"""`ribcage route load`: a table goes over whole lines at a time, and never by half."""

import gzip
import json
import lzma
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TABLE = "".join(f"10.{i >> 8}.{i & 255}.0/24 {i % 3 + 1}\n" for i in range(5000))


class Loader:
    """The router's side of a load."""

    def __init__(self, router: Any) -> None:
        self.text = ""
        self.chunks = 0
        router.answers["route.load.begin"] = {"id": "L1"}
        router.answers["route.load.chunk"] = self.chunk
        router.answers["route.load.commit"] = self.commit
        self.router = router

    def chunk(self, params: dict[str, Any]) -> dict[str, Any]:
        assert params["id"] == "L1"
        assert params["text"].endswith("\n")
        assert len(json.dumps(params["text"])) < 60_000
        self.text += params["text"]
        self.chunks += 1
        return {"rows": self.text.count("\n")}  # so far, as a router counts

    def commit(self, params: dict[str, Any]) -> dict[str, Any]:
        assert params == {"id": "L1", "wait": "visible"}
        return {"routes": self.text.count("\n"), "generation": 7, "seconds": 0.25}


@pytest.fixture
def loader(router: Any) -> Loader:
    return Loader(router)


@pytest.mark.parametrize("packed", ["plain", "gz", "xz"])
def test_a_table_arrives_whole(packed: str, loader: Loader, ribcage: Any, tmp_path: Path) -> None:
    """Plain, gzip or xz, whatever the file is called."""
    pack = {"plain": lambda data: data, "gz": gzip.compress, "xz": lzma.compress}[packed]
    path = tmp_path / "table"
    path.write_bytes(pack(TABLE.encode()))
    ran = ribcage("route", "load", path, "--via", "10.0.2.9", "--via", "10.0.2.10", "--atomic")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "5,000 routes loaded; generation 7 after 250 ms\n"
    assert loader.text == TABLE
    assert loader.chunks > 1
    begin = {"source": "added", "vias": ["10.0.2.9", "10.0.2.10"], "atomic": True}
    assert loader.router.asked[0] == ("route.load.begin", begin)
    assert loader.router.methods()[-1] == "route.load.commit"


def test_a_mark_of_utf8_before_a_table_is_no_part_of_it(
    loader: Loader, ribcage: Any, tmp_path: Path
) -> None:
    """As Windows editors save it, packed too; UTF-16 is named."""
    path = tmp_path / "table"
    for data in (b"\xef\xbb\xbf10.0.0.0/24 1\r\n", gzip.compress(b"\xef\xbb\xbf10.0.0.0/24 1\r\n")):
        path.write_bytes(data)
        loader.text = ""
        assert ribcage("-j", "route", "load", path).status == 0
        assert loader.text == "10.0.0.0/24 1\r\n"
    path.write_text("10.0.0.0/24 1\n", encoding="utf-16")
    error = ribcage("-j", "route", "load", path).document["error"]
    assert "line 1: UTF-16 text; save the file as UTF-8" in error["message"]


def test_a_last_line_without_its_end_counts(loader: Loader, ribcage: Any, tmp_path: Path) -> None:
    """The router sees whole lines only."""
    path = tmp_path / "table"
    path.write_text("10.0.0.0/24 1\n10.0.1.0/24 1")
    assert ribcage("-j", "route", "load", path).document["routes"] == 2


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"10.0.0.0/24 1\n\xff\xfe\n", 2),
        (b"10.0.0.0/24 " + b"1" * 3000, 1),
        (b"10.0.0.0/24 \x01\n", 1),
        (lzma.compress(TABLE.encode())[:-40], 1),
        (gzip.compress(TABLE.encode())[:-12], 1),
        (b"\x1f\x8b\x00garbage", 1),
        (gzip.compress(TABLE.encode())[:60] + b"\xff" * 60, 1),
    ],
    ids=["bytes", "long", "control", "cut xz", "cut gz", "no gz", "bad gz"],
)
def test_what_is_no_table_is_refused_and_given_up(
    data: bytes, line: int, loader: Loader, ribcage: Any, tmp_path: Path
) -> None:
    """The line is named, the load is aborted, nothing is committed."""
    path = tmp_path / "table"
    path.write_bytes(data)
    ran = ribcage("-j", "route", "load", path)
    assert (ran.status, ran.document["error"]["code"]) == (2, "E_TABLE")
    if line == 2:
        assert "line 2: not plain text" in ran.document["error"]["message"]
    assert loader.router.methods()[-1] == "route.load.abort"
    assert "route.load.commit" not in loader.router.methods()


def test_a_refused_chunk_names_the_lines_of_the_file(
    loader: Loader, ribcage: Any, tmp_path: Path
) -> None:
    """The router counts from the first chunk on; the file is named beside its line."""

    def refuse(params: dict[str, Any]) -> dict[str, Any]:
        raise loader.router.refuse("E107", "line 3: host bits", 2, "10.0.2.0/24")

    loader.router.answers["route.load.chunk"] = refuse
    path = tmp_path / "table"
    path.write_text(TABLE[:140])
    error = ribcage("-j", "route", "load", path).document["error"]
    assert error["code"] == "E107"
    assert error["message"] == f"{path}: line 3: host bits"
    assert loader.router.methods()[-1] == "route.load.abort"


def test_ctrl_c_gives_up_the_load(loader: Loader, tmp_path: Path) -> None:
    """Interrupted in the middle: abort, exit 130, no commit."""

    def slow(params: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while "route.load.abort" not in loader.router.methods() and time.monotonic() < deadline:
            time.sleep(0.01)
        return {"rows": 1}

    loader.router.answers["route.load.chunk"] = slow
    path = tmp_path / "table"
    path.write_text(TABLE)
    process = subprocess.Popen(
        [sys.executable, "-m", "ribcage", "-j", "route", "load", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 20
    while "route.load.chunk" not in loader.router.methods() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    assert json.loads(out)["error"]["code"] == "E_INTERRUPTED"
    assert loader.router.methods()[-1] == "route.load.abort"
