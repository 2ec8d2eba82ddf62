"""C files are compiled once for all that is the same, and again when anything is another."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.csrc import build
from tests.csrc.objects import Store

Build = Callable[..., int]


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where programs are built for now."""
    folder = tmp_path / "objects"
    folder.mkdir()
    monkeypatch.setattr(build, "store", lambda: Store(folder))
    return folder


@pytest.fixture
def status(tmp_path: Path, objects: Path) -> Build:
    """What a program of its own, `number`, returns that adds seven() of a file of all."""
    shared = tmp_path / "shared.c"
    shared.write_text('#include "shared.h"\nint seven(void) { return SEVEN; }\n')
    (tmp_path / "shared.h").write_text("int seven(void);\n")

    def built(number: int = 0, *flags: str) -> int:
        source = tmp_path / f"main{number}.c"
        source.write_text(f"int seven(void);\nint main(void) {{ return seven() + {number}; }}\n")
        program = build.build_c_test(str(source), [str(shared)], flags=("-DSEVEN=7", *flags))
        return build.run(program, may_exit=range(256)).returncode

    return built


def made(objects: Path) -> int:
    return len(list(objects.glob("shared-*.o")))


def test_programs_built_at_once_share_what_they_have_in_common(
    status: Build, objects: Path
) -> None:
    """Three ask for the same file: it is compiled once, and whole when it is linked."""
    with ThreadPoolExecutor(3) as three:
        assert list(three.map(status, range(3))) == [7, 8, 9]
    assert made(objects) == 1
    assert not list(objects.glob("*.part"))


def test_another_flag_is_another_object_if_it_changes_the_text(
    status: Build, objects: Path
) -> None:
    """-O2 does; -D does where the name is used, and not where it is not."""
    assert status() == 7
    assert status(0, "-O2") == 7
    assert made(objects) == 2
    assert status(0, "-DELEVEN=11") == 7
    assert made(objects) == 2
    assert status(0, "-USEVEN", "-DSEVEN=8") == 8
    assert made(objects) == 3


def test_a_header_that_changes_is_noticed(status: Build, objects: Path, tmp_path: Path) -> None:
    """Its content counts, also when it gets back to what it was; a header that went is missed."""
    header = tmp_path / "shared.h"
    before = header.read_text()
    assert status() == 7
    header.write_text(f"{before}#undef SEVEN\n#define SEVEN 9\n")
    assert status() == 9
    header.write_text(before)
    assert status() == 7
    assert made(objects) == 2
    header.unlink()
    with pytest.raises(AssertionError, match=r"shared\.h: No such file"):
        status()


def test_a_failure_says_how_to_run_the_program_again(tmp_path: Path, objects: Path) -> None:
    """The line works: the program is where it says."""
    source = tmp_path / "fails.c"
    source.write_text("int main(int argc, char **argv) { return argc + (argv == 0); }\n")
    program = build.build_c_test(str(source), [])
    with pytest.raises(AssertionError) as failed:
        build.run(program, "a b", env={"RIGHT": "1 2"})
    said = str(failed.value)
    assert said.startswith("exit 2\n")
    assert f"run it alone: env 'RIGHT=1 2' {program} 'a b'" in said
    assert program.is_file()
