"""`python -m ribcage.roles`: what is refused at start, and with which status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ribcage.shared.plan import Plan


def run(*arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    fds: tuple[int, ...] = ()
    if text is not None:
        fd = os.memfd_create("plan")
        os.write(fd, text.encode())
        fds = (fd,)
        arguments = tuple(word.replace("FD", str(fd)) for word in arguments)
    try:
        return subprocess.run(
            [sys.executable, "-m", "ribcage.roles", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            pass_fds=fds,
            check=False,
        )
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("supervisor",),
        ("supervisor", "--plan-fd", "x"),
        ("supervisor", "--what"),
    ],
)
def test_wrong_usage_is_two_lines_and_status_2(arguments: tuple[str, ...]) -> None:
    """The usage line, no traceback."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: python -m ribcage.roles" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 3}', '{"name": "r1", "colour": "red"}'])
def test_a_plan_that_is_none_is_status_3(text: str) -> None:
    """Named as a plan error; nothing is started."""
    done = run("supervisor", "--plan-fd", "FD", text=text)
    assert done.returncode == 3
    assert done.stderr.startswith("error[E_PLAN]: plan")


def test_a_closed_descriptor_is_status_3() -> None:
    """The launcher made a mistake: said, not a traceback."""
    done = run("supervisor", "--plan-fd", "77")
    assert done.returncode == 3
    assert "Bad file descriptor" in done.stderr


def test_an_instance_name_that_leaves_the_run_directory_is_refused() -> None:
    """Allow-list, status 2, before anything is made."""
    done = run("supervisor", "--plan-fd", "FD", "--instance", "../x", text=Plan(name="r1").dumps())
    assert done.returncode == 2
    assert "instance name" in done.stderr


def test_the_composition_root_imports_nothing_heavy() -> None:
    """What forks all processes has loaded neither asyncio nor any of the big libraries."""
    heavy = "asyncio pyroute2 structlog pydantic typer rich tomllib ssl hashlib threading"
    code = (
        "import sys, ribcage.roles as r; r.roles(); "
        f"print([m for m in {heavy.split()!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_undo_without_a_journal_is_no_error(tmp_path: Path) -> None:
    """`roles undo RUN_DIR` with nothing to undo: status 0."""
    pytest.importorskip("ribcage.controlplane.kernel.changes.undo")
    assert run("undo", str(tmp_path)).returncode == 0
