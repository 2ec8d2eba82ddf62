"""`python -m ribcage` and the command `ribcage`: hands over to the command line.

The daemons do not come this way: they are started as `python -m ribcage.roles`, which imports
no command-line library.
"""

import sys


def main() -> None:
    """The console script."""
    from ribcage.cli.main import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
