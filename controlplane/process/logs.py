"""Control's log: structlog in front (context, exceptions), the shared line logger behind.

    log = make_log();  log("info", "takeover.done", replayed=3)

One sink for all processes keeps one format, never blocks on a full pipe, and folds repeats.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from ribcage.shared.process.log import log as write_line


@contextlib.contextmanager
def kept_out(name: str) -> Iterator[None]:
    """An optional library that another one would load, and that nobody here uses."""
    known = name in sys.modules
    if not known:
        sys.modules[name] = None  # type: ignore[assignment]  # import's own word for "there is none"
    try:
        yield
    finally:
        if not known:
            del sys.modules[name]


with kept_out("rich"):  # for its console of developers: 60 ms in each control
    import structlog

LEVELS = ("debug", "info", "warning", "error")


def _sink(_: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    text = str(event.pop("event", ""))
    write_line(method if method in LEVELS else "error", text, **event)
    raise structlog.DropEvent


def make_log() -> Callable[..., None]:
    """`log(level, event, **fields)`; an exception as `exc_info=error` becomes its traceback."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _sink,
        ],
        wrapper_class=structlog.BoundLogger,
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    bound = structlog.get_logger()

    def log(level: str, event: str, **fields: Any) -> None:
        getattr(bound, level if level in LEVELS else "error")(event, **fields)

    return log
