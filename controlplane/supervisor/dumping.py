"""SIGUSR1: what the supervisor knows, into a file of the run directory, for a person to read."""

import contextlib
import json
from typing import Any

from ribcage.controlplane.supervisor.context import Context
from ribcage.shared.process.log import log
from ribcage.shared.process.names import Names


def write_dump(context: Context, processes: list[dict[str, Any]], refused: int) -> None:
    """`processes` as `ps` has them; `refused`: messages of children that were."""
    state = context.objects.state
    body = {
        "processes": processes,
        "ports": [port.to_json() for port in context.ports.known.values()],
        "fib": context.fib.to_json() if context.fib else None,
        "ring_bytes": context.ports.memory(),
        "objects": {"shm": state.shm, "semaphore": state.semaphore, "queue_key": state.queue_key},
        "messages_refused": refused,
        "loop_failures": context.loop.failures,
        "stored": sorted(context.store.kept),
    }
    path = context.names.supervisor_dump
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(body, indent=2) + "\n")
        temporary.replace(path)
    except OSError as error:
        log("error", "dump", error=str(error))
        return
    also = context.table.control.channel is not None
    control = str(context.names.control_dump) if also else "no control"
    log("info", "dump", file=str(path), control=control)


def remove_files(names: Names) -> None:
    """What the run directory holds of a router that has stopped: dumps, state, control's files."""
    for path in (names.state_file, names.control_socket, names.control_lock, names.supervisor_dump,
                 names.control_dump, names.restored):  # fmt: skip
        for one in (path, path.with_suffix(".tmp")):
            with contextlib.suppress(OSError):
                one.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # of guardians that were killed
        for path in names.supervisor_dir.glob(names.guardian_socket("*").name):
            path.unlink()
