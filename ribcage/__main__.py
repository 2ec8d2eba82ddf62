"""`python -m ribcage` and the command `ribcage`: hands over to the command line.

The daemons do not come this way: they are started as `python -m ribcage.roles`, which imports
no command-line library.
"""

import sys


def main() -> None:
    """The console script."""
    try:
        from ribcage.cli.main import main as run

        status = run()
    except KeyboardInterrupt:  # before there was anything to interrupt
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
