"""Loads a configuration: a file or a text in, a Plan and a Report out. Reading begins here.

    plan, report = load(Path("ribcage.toml"))      # plan is None when report.errors
    plan = load_plan(path)                          # raises ConfigErrors instead

Runs in the command line (`ribcage run`, `config check`, `config compile`) and nowhere near a
forking process: pydantic is heavy. Whatever the bytes are, the outcome is a Report.
"""

import os
import stat
import sys
from pathlib import Path

from ribcage.controlplane.config.compile import compile_plan
from ribcage.controlplane.config.limits import check_limits
from ribcage.controlplane.config.links import check_links
from ribcage.controlplane.config.machine import Machine
from ribcage.controlplane.config.routes import check_routes, name_defaults
from ribcage.controlplane.config.toml.positions import Positions
from ribcage.controlplane.config.toml.problems import (
    ConfigErrors,
    ConfigReport,
    Problem,
    Span,
    in_file_order,
)
from ribcage.controlplane.config.toml.syntax import parse
from ribcage.controlplane.config.translate import validate
from ribcage.shared.codes import remedy
from ribcage.shared.plan import Plan

MAX_BYTES = 4 << 20
WHOLE_FILE = Span(0, 0)
UNREADABLE: dict[type[OSError], str] = {
    FileNotFoundError: "is that its path?",
    IsADirectoryError: "name a file in it",
    PermissionError: "run as a user that may read it, or change its mode",
}


def load_plan(path: Path, machine: Machine | None = None) -> tuple[Plan, ConfigReport]:
    """The plan of a good file and its warnings; ConfigErrors with all problems otherwise."""
    plan, report = load(path, machine)
    if plan is None:
        raise ConfigErrors(report)
    return plan, report


def load(path: Path, machine: Machine | None = None) -> tuple[Plan | None, ConfigReport]:
    """As check(), for a file ("-": standard input); E002 when it cannot be read."""
    name = "stdin" if str(path) == "-" else str(path)
    data = _read(path)
    if isinstance(data, Problem):
        return None, ConfigReport(name, "", (data,))
    full = None if name == "stdin" else str(path.absolute())
    return check(data, name, machine, full)


def check(
    data: bytes | str,
    name: str = "ribcage.toml",
    machine: Machine | None = None,
    config_path: str | None = None,
) -> tuple[Plan | None, ConfigReport]:
    """Every problem of a configuration, and its plan when none of them is an error."""
    text = _text(data)
    if isinstance(text, Problem):
        return None, ConfigReport(name, "", (text,))
    document, problems = parse(text)
    if document is None:
        return None, ConfigReport(name, text, in_file_order(problems))
    machine = machine or Machine.here()
    positions = Positions(text)
    name_defaults(document)
    file, problems = validate(document, positions)
    links, found = check_links(document, positions)
    problems += found
    problems += check_routes(document, links, positions)
    problems += check_limits(document, machine, positions)
    report = ConfigReport(name, text, in_file_order(problems))
    if file is None or report.errors:
        return None, report
    return compile_plan(file, machine, config_path), report


def _text(data: bytes | str) -> str | Problem:
    if len(data) > MAX_BYTES:
        what = f"{len(data)} bytes, at most {MAX_BYTES} are read"
        return Problem("E002", what, WHOLE_FILE, "load routes with: ribcage route load FILE")
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text: byte 0x{error.object[error.start]:02x} in line {line}"
        return Problem("E002", what, WHOLE_FILE, "save the file as UTF-8")
    return text.replace("\r\n", "\n")  # as tomllib does


def _read(path: Path) -> bytes | Problem:
    """The file's bytes, one more than allowed at most."""
    try:
        if str(path) == "-":
            if sys.stdin is None:
                return Problem("E002", "standard input is closed", WHOLE_FILE, "name a file")
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        # O_NONBLOCK: a FIFO must not hold up the command before it is seen to be one.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return Problem("E002", "not a regular file", WHOLE_FILE, remedy("E002"))
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = UNREADABLE.get(type(error)) or remedy("E002")
        return Problem("E002", f"cannot be read: {error.strerror}", WHOLE_FILE, hint)
    except ValueError:
        return Problem("E002", "not a file name", WHOLE_FILE, remedy("E002"))
