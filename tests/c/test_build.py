"""C files are compiled once for each set of flags, however many programs want them."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.c import build


def program(folder: Path, name: str, number: int) -> Path:
    """A test of its own that calls what `shared.c` has."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.c").write_text(
        f"int seven(void);\nint main(void) {{ return seven() + {number}; }}\n"
    )
    return folder / f"{name}.c"


def test_a_file_is_compiled_once_for_each_set_of_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs built at once share it, whole; with other flags there is another."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(build, "CACHE", [cache])
    shared = tmp_path / "shared.c"
    shared.write_text("int seven(void);\nint seven(void) { return SEVEN; }\n")

    def made(number: int) -> int:
        source = program(tmp_path / str(number), f"main{number}", number)
        flags = ("-DSEVEN=7",)
        done = build.build_c_test(str(source), [str(shared)], source.parent, flags=flags)
        return subprocess.run([done], check=False).returncode

    with ThreadPoolExecutor(3) as three:
        assert list(three.map(made, range(3))) == [7, 8, 9]
    assert len(list(cache.glob("shared-*.o"))) == 1
    source = program(tmp_path / "other", "main", 0)
    done = build.build_c_test(str(source), [str(shared)], source.parent, flags=("-DSEVEN=8",))
    assert subprocess.run([done], check=False).returncode == 8
    assert len(list(cache.glob("shared-*.o"))) == 2
    assert not list(cache.glob("*.part"))
