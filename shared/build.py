"""Which build this is: the version people know, and an id of the very files that are installed.

    VERSION                 "0.1.0"
    build_id()              "3f2a91c04b7e": of the files as they were when this process first asked
    describe(build_id())    "0.1.0+3f2a91c04b7e", what `ps` and `version` show

The id is a checksum over every module and the compiled one: it tells builds apart, and proves
nothing about who made them (hashlib would load OpenSSL into every process). The supervisor asks
before its first fork, so a process that it forks says what was loaded, not what lies on disk by
now. Any process.
"""

import zlib
from functools import cache
from pathlib import Path

VERSION = "0.1.0"
PACKAGE = Path(__file__).absolute().parent.parent
SUFFIXES = (".py", ".so")


@cache
def build_id() -> str:
    """Of this process: read once, and inherited by those it forks."""
    return id_of(PACKAGE)


def id_of(package: Path) -> str:
    """Of an installed package: names and contents, in the order of names. A file that goes away
    meanwhile (an installation is going on) makes an id that no whole build has."""
    crc, adler = 0, 1
    for path in _files(package):
        try:
            content = path.read_bytes()
        except OSError:
            content = b"unreadable"
        name = str(path.relative_to(package)).encode()
        for part in (b"%d %d " % (len(name), len(content)), name, content):
            crc, adler = zlib.crc32(part, crc), zlib.adler32(part, adler)
    return f"{crc:08x}{adler & 0xFFFF:04x}"


def _files(package: Path) -> list[Path]:
    """The planes are links in a checkout and folders in an installation: both are followed."""
    found: list[Path] = []
    todo = [package]
    while todo:
        try:
            entries = list(todo.pop().iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir():
                todo.append(entry)
            elif entry.suffix in SUFFIXES:
                found.append(entry)
    return sorted(found)


def describe(build: str) -> str:
    """Version and id in one word."""
    return f"{VERSION}+{build}"
