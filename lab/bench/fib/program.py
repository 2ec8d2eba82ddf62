"""One contestant: a process of its own, on one CPU, that obeys one line at a time (harness.h).

    with Program("compact", [path, "4", folder, "params-0.bin", "1"], cpu=1) as program:
        program.ask("load")                        # {"seconds": 0.011}
        program.ask("lookup", 0, 64, 5)

Every answer has a deadline; a contestant that dies, stops or answers nonsense is E_CONTESTANT with
what it said on stderr. The child is ended by its own pid, whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ribcage.shared.errors import Exit, RibcageError

PATIENCE = 120.0  # seconds; loading a full table into the slowest peer takes a few


class Program:
    """A running contestant. Not shared between threads."""

    def __init__(self, name: str, line: Sequence[str], cpu: int | None = None) -> None:
        self.name = name
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - close() ends it
        self._unread = b""
        try:
            self._process = subprocess.Popen(
                list(line),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        except OSError as error:
            self._words.close()
            raise self._lost(f"could not be started: {error}") from None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        if cpu is not None:
            os.sched_setaffinity(self._process.pid, {cpu})

    @property
    def pid(self) -> int:
        """Of the process; its readers are its children."""
        return self._process.pid

    def ask(self, *words: object, patience: float = PATIENCE) -> dict[str, Any]:
        """Sends one command, waits for its answer."""
        self.tell(*words)
        return self.hear(patience)

    def tell(self, *words: object) -> None:
        assert self._process.stdin is not None
        line = " ".join(str(word) for word in words) + "\n"
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError:
            raise self._lost(f"ended before {words[0]}") from None

    def hear(self, patience: float = PATIENCE) -> dict[str, Any]:
        """The next answer."""
        line = self._line(time.monotonic() + patience)
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._lost(f"said {line[:80]!r}") from None
        if not isinstance(answer, dict):
            raise self._lost(f"said {line[:80]!r}")
        if "error" in answer:
            raise self._lost(str(answer["error"]))
        return answer

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise self._lost("gave no answer in time")
                read = os.read(self._process.stdout.fileno(), 1 << 20)
                if not read:
                    raise self._lost("ended")
                self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def close(self) -> None:
        """Ends the process; its forked readers end with it."""
        if self._words.closed:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._words.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _lost(self, what: str) -> RibcageError:
        self._words.seek(0)
        said = self._words.read().decode(errors="replace").strip().splitlines()[-5:]
        return RibcageError(
            "E_CONTESTANT",
            f"{self.name}: {what}",
            "\n".join(said) or None,
            Exit.INTERNAL,
        )
