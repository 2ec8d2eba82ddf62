"""How a Python program of ours is started: with nothing of the caller's surroundings.

    argv = python("ribcage.roles", "undo", run_dir)

-I and -P: neither the current folder, nor PYTHONPATH, nor the user's own packages are looked into,
so that a `json.py` lying about never runs with a router's rights. Packages come from where the
interpreter is installed, a virtual environment's editable ones included. Any process.
"""

import sys

ISOLATED = ("-I", "-P")


def python(module: str, *arguments: str) -> list[str]:
    """The argument vector that runs `module` as this interpreter would."""
    return [sys.executable, *ISOLATED, "-m", module, *arguments]
