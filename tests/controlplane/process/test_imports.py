"""What control loads: all of it before it gives up its rights, and nothing that nobody uses."""

import subprocess
import sys

from ribcage.controlplane.process.logs import kept_out

PROGRAM = """
import sys
from ribcage import control
control.load()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_control_loads_no_library_for_terminals() -> None:
    """rich and what it needs: 60 ms and 3 MB in each control, for a console that is not there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert {"pyroute2", "structlog", "asyncio"} <= found
    assert not {"rich", "pygments", "typer", "pydantic"} & found


def test_what_is_kept_out_is_there_afterwards() -> None:
    """Only for the import in between; a library that somebody uses already is left alone."""
    with kept_out("json"):
        import json

        assert json.dumps({}) == "{}"
    assert "a-name-of-nothing" not in sys.modules
    with kept_out("a-name-of-nothing"):
        assert sys.modules["a-name-of-nothing"] is None
    assert "a-name-of-nothing" not in sys.modules
