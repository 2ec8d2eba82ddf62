"""Binary records from one process to another through files that may be taken away while they grow.

    writer = RecordWriter(folder, "s1", SENT); writer.add(flow, number, now); writer.flush()
    reader = RecordReader(folder, "s1", SENT); reader.read()   # what is new, whole records only

Files, not pipes: who writes never waits for who reads, and both may be late by seconds. A writer
goes on in a new file (`s1.000001`) when one is large; the reader removes what it has read whole,
so that a run of hours takes no more room than one of minutes.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

LIMIT = 4 << 20  # bytes of one file
SENT = struct.Struct("<HxxIQ")  # flow, number, monotonic ns before the send
RECEIVED = struct.Struct("<HxxIQQ")  # flow, number, sent, monotonic ns of the arrival in the kernel


def _part(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}.{number:06d}"


class RecordWriter:
    """One process, one writer of a name."""

    def __init__(self, folder: Path, name: str, form: struct.Struct) -> None:
        self._folder, self._name, self._form = folder, name, form
        self._number = 0
        self._written = 0
        self._buffer = bytearray()
        self._file: BinaryIO = _part(folder, name, 0).open("ab", buffering=0)

    def add(self, *fields: int) -> None:
        self._buffer += self._form.pack(*fields)

    def flush(self) -> None:
        """What was added is there for the reader; whole records, so that a kill tears none."""
        if not self._buffer:
            return
        if self._written >= LIMIT:
            self._file.close()
            self._number += 1
            self._written = 0
            self._file = _part(self._folder, self._name, self._number).open("ab", buffering=0)
        self._written += self._file.write(self._buffer)
        self._buffer.clear()

    def close(self) -> None:
        self.flush()
        self._file.close()


class RecordReader:
    """Reads what a writer of that name has flushed; the writer may not have begun yet."""

    def __init__(self, folder: Path, name: str, form: struct.Struct) -> None:
        self._folder, self._name, self._form = folder, name, form
        self._number = 0
        self._file: BinaryIO | None = None
        self._rest = b""

    def read(self) -> Iterator[tuple[Any, ...]]:
        """The records since the last call."""
        while True:
            following = _part(self._folder, self._name, self._number + 1).exists()
            yield from self._read_part()
            if not following:
                return
            if self._file is not None:  # looked at after the next one was there: it is complete
                self._file.close()
                self._file = None
            _part(self._folder, self._name, self._number).unlink(missing_ok=True)
            self._number += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_part(self) -> Iterator[tuple[Any, ...]]:
        if self._file is None:
            path = _part(self._folder, self._name, self._number)
            if not path.exists():
                return
            self._file = path.open("rb", buffering=0)
        data = self._rest + self._file.read()
        whole = len(data) - len(data) % self._form.size
        self._rest = data[whole:]
        yield from self._form.iter_unpack(data[:whole])
