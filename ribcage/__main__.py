"""`python -m ribcage` and the command `ribcage`: hands over to the command line.

The daemons do not come this way: they are started as `python -m ribcage.roles`, which imports
no command-line library.
"""

# Nothing is imported here but what Python has loaded by itself, before the surroundings are shut
# out: `python -m` and a script that does not say -I look into the current folder and PYTHONPATH.
import os
import sys

if __name__ == "__main__" and not sys.flags.isolated and os.geteuid() == 0:
    os.execv(sys.executable, [sys.executable, "-I", "-P", "-m", "ribcage", *sys.argv[1:]])


def main() -> None:
    """Runs the command line; ends the process."""
    try:
        from ribcage.cli.main import main as run

        status = run()
    except KeyboardInterrupt:  # before there was anything to interrupt
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
