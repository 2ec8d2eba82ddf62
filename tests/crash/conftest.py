"""Says at the end what the crash tests came to."""

from typing import Any

from tests.crash.fib_script import DONE


def pytest_terminal_summary(terminalreporter: Any) -> None:
    done = ", ".join(f"{n:,} {what}" for what, n in sorted(DONE.items()) if n)
    if done:
        terminalreporter.write_line(f"crash tests: {done}")
