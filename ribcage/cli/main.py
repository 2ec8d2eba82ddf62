"""The command `ribcage`: reads the line, runs one command, answers, and returns its exit status.

    sys.exit(main())
    main(["-j", "route", "show"])

Every end passes here: an answer (0, or 1 for "no"), a RibcageError (its own status), a line typer
cannot read (2), Ctrl-C (130), and a bug (7, with the traceback only under -v). With -j each of
them is one JSON document on stdout.
"""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ribcage.cli import options as global_options
from ribcage.cli.options import Options
from ribcage.cli.output import Output
from ribcage.shared.errors import Exit, RibcageError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; the exit status. Speaks on stdout and stderr only."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(Options(json=global_options.wants_json(words)))
    try:
        status: int = Exit.INTERNAL
        try:
            options, rest = global_options.split(words)
            output = Output(options)
            status = _run(output, rest)
        except RibcageError as error:
            status = _refused(output, error)
        except KeyboardInterrupt:
            stopped = RibcageError("E_INTERRUPTED", "interrupted", None, INTERRUPTED)
            status = _refused(output, stopped)
        except BrokenPipeError:
            raise
        except Exception as error:  # the one place where a bug becomes a sentence
            status = _bug(output, error)
        output.out.flush()
        return int(status)
    except BrokenPipeError:  # `ribcage route show | head -1`: the reader has what it wants
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), output.out.fileno())
        return Exit.OK


def _run(output: Output, words: list[str]) -> int:
    import typer

    from ribcage.cli.app import alias, build
    from ribcage.cli.session import Session

    usage_error: type[Exception] = typer.BadParameter.__mro__[
        1
    ]  # UsageError, wherever typer keeps it
    session = Session(output.options, output)
    shown = io.StringIO()
    # typer prints help by itself; under -j that too has to be a JSON document.
    capture = contextlib.redirect_stdout(shown) if output.json else contextlib.nullcontext()
    command = typer.main.get_command(build())
    try:
        with capture:
            status = command.main(
                args=alias(words), prog_name="ribcage", standalone_mode=False, obj=session
            )
    except usage_error as error:
        return _misused(output, error)
    except typer.Exit as end:
        status = end.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    finally:
        session.hang_up()
    if status == INTERRUPTED:  # what typer makes of Ctrl-C
        raise KeyboardInterrupt
    if output.json and not output.answered:
        output.answer({"help": shown.getvalue().rstrip()}, "")
    return status if isinstance(status, int) else Exit.OK


def _refused(output: Output, error: RibcageError) -> int:
    output.error(error, getattr(error, "details", None))
    return error.exit_code


def _misused(output: Output, error: Any) -> int:
    """A line typer cannot read: its message in our form."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "ribcage"
    message = str(error.format_message()).strip()
    if type(error).__name__ == "NoArgsIsHelpError":  # `ribcage`, `ribcage route`: say what there is
        if not output.json:
            sys.stderr.write(message + "\n")
            return Exit.USAGE
        message = f"{path}: a command is missing"
    output.error(RibcageError("E_USAGE", message, f"see: {path} --help", Exit.USAGE))
    return Exit.USAGE


def _bug(output: Output, error: Exception) -> int:
    if output.options.verbose:
        traceback.print_exc()
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {Path(where[0].filename).name}:{where[0].lineno}" if where else ""
    output.error(
        RibcageError(
            "E_INTERNAL",
            f"{type(error).__name__}: {error!s:.200}{place}",
            "this is a bug in ribcage; -v shows the traceback to report",
            Exit.INTERNAL,
        )
    )
    return Exit.INTERNAL
