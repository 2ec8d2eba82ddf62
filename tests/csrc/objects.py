"""What the compiler made of C files, kept by what it was made from, for whoever wants it again.

Use: `store.compiled(file, compiler, flags)`, `store.linked(name, compiler, flags, objects)`: a
path, at once when the same was made before, by another test, by another process of this run, or by
a run last week. A failing program is still there afterwards. What nobody wanted for a week is
removed, and `make clean` removes all.

An object is named after the preprocessed text, the flags that are not the preprocessor's, and the
compiler's version: files without a fault point are compiled once for the builds with and without.
A note beside it spares the preprocessor the next time. It is named after the file and all flags,
and says what all the headers, the system's too, looked like. (It does not notice a new header that
hides another of the same name.) Of two processes that want the same, one waits for the other.
"""

import fcntl
import hashlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300  # a guard against hanging: one file takes seconds
WEEK_S = 7 * 24 * 3600.0
PREPROCESSOR = ("-D", "-U", "-I")
CLOCKS_APART_S = 0.02  # a file's time may be so much behind the clock's


class Store:
    """One folder of them; it is there and may be written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def compiled(self, file: Path, compiler: Sequence[str], flags: Sequence[str]) -> Path:
        """The object of one file; AssertionError with the compiler's words."""
        command = [*compiler, *flags, str(file)]
        note = self.folder / f"{file.stem}-{_digest([*command, _version(*compiler)])}.note"
        with _locked(note):
            if (made := _noted(note)) and _wanted(self.folder / made):
                return self.folder / made
            own = [flag for flag in flags if not flag.startswith(PREPROCESSOR)]
            while True:
                began = time.time() - CLOCKS_APART_S
                text, files = _preprocessed(command, note.with_suffix(".d"))
                name = _digest([*compiler, *own, _version(*compiler), text])
                made = f"{file.stem}-{name}.o"
                self._make(self.folder / made, [*command, "-c"])
                if all(path.stat().st_mtime < began for path in files):
                    break
                (self.folder / made).unlink()  # somebody wrote meanwhile: of which text is it?
            note.write_text(json.dumps([made, {str(path): _content(path) for path in files}]))
        return self.folder / made

    def linked(
        self, name: str, compiler: Sequence[str], flags: Sequence[str], objects: Sequence[Path]
    ) -> Path:
        """The program of these objects."""
        command = [*compiler, *flags]
        own = _digest([*command, _version(*compiler), *(path.name for path in objects)])
        made = self.folder / f"{name}-{own}"
        self._make(made, [*command, *map(str, objects)])
        return made

    def remove_old(self) -> None:
        """What nobody wanted for a week."""
        for path in self.folder.iterdir():
            try:
                if path.stat().st_mtime < time.time() - WEEK_S:
                    path.unlink()
            except FileNotFoundError:  # another run was quicker
                continue

    def _make(self, made: Path, command: Sequence[str]) -> None:
        with _locked(made):
            if not _wanted(made):
                part = made.with_suffix(".part")
                _run([*command, "-o", str(part)])
                part.rename(made)


def _noted(note: Path) -> str | None:
    """The name of the object, if the files are as they were."""
    try:
        made, contents = json.loads(note.read_text())
        same = all(_content(Path(path)) == content for path, content in contents.items())
    except FileNotFoundError:  # the note, or a header
        return None
    return str(made) if same and _wanted(note) else None


def _preprocessed(command: Sequence[str], rule: Path) -> tuple[str, list[Path]]:
    """What the compiler sees, and the files that it came from, as a rule for make says; a space
    in a name is escaped there."""
    text = _run([*command, "-E", "-MD", "-MF", str(rule)])
    words = rule.read_text().partition(":")[2].replace("\\\n", " ").replace("\\ ", "\0").split()
    rule.unlink()
    return text, [Path(word.replace("\0", " ")) for word in words]


def _wanted(made: Path) -> bool:
    """Whether it is there; its time is now."""
    try:
        os.utime(made)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _locked(what: Path) -> Iterator[None]:
    with what.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(lock.fileno())
        yield


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
    return done.stdout


@cache
def _version(*compiler: str) -> str:
    words = [*compiler, "--version"]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


def _content(file: Path) -> str:
    found = file.stat()
    return _content_at(str(file), found.st_mtime_ns, found.st_size)


@cache
def _content_at(path: str, _time_ns: int, _size: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
