"""The command `ribcage`: reads the line, runs one command, answers, and returns its exit status.

    sys.exit(main())
    main(["-j", "route", "show"])

Every end passes here: an answer (0, or 1 for "no"), a RibcageError (its own status), a line that
cannot be read (2), Ctrl-C and SIGTERM (130, 143), a reader that left (141, as SIGPIPE would
have it), an answer that cannot be written (9), and a bug (7, with the traceback only under -v).
With -j each of them is one JSON document on stdout, as far as stdout takes one.
"""

import contextlib
import io
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ribcage.cli import options as global_options
from ribcage.cli.answer import interrupt, streams
from ribcage.cli.answer.output import Output
from ribcage.cli.beginning.early import early_of
from ribcage.cli.options import Options
from ribcage.controlplane.supervisor.start.early import Early
from ribcage.shared.errors import Exit, RibcageError

INTERRUPTED = 130
READER_LEFT = 141  # 128 + SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; the exit status. Speaks on stdout and stderr only."""
    streams.secure()
    words = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(Options(json=global_options.wants_json(words)))
    try:
        with interrupt.listening():
            try:
                options, rest = global_options.split(words)
                output = Output(options)
                return _run(output, rest)
            except RibcageError as error:
                return _refused(output, error)
            except KeyboardInterrupt as stopped:
                return _interrupted(output, stopped)
            except BrokenPipeError:
                raise
            except Exception as error:  # the one place where a bug becomes a sentence
                return _bug(output, error)
    except RibcageError as error:  # the error itself could not be written
        output.lost(error)
        return error.exit_code
    except BrokenPipeError:  # `ribcage route show | head -1`: the reader has what it wants
        return READER_LEFT
    except KeyboardInterrupt as again:
        return getattr(again, "status", INTERRUPTED)


def _run(output: Output, words: list[str]) -> int:
    early = early_of(words)  # before the line is even read: both take the same 0.2 s
    try:
        return _command(output, words, early)
    finally:
        early.end()  # unless it was taken along


def _command(output: Output, words: list[str], early: Early) -> int:
    import typer

    from ribcage.cli.answer.misuse import misused
    from ribcage.cli.app import alias, build
    from ribcage.cli.session import Session

    # UsageError, wherever typer keeps it.
    usage_error: type[Exception] = typer.BadParameter.__mro__[1]
    session = Session(output.options, output, early)
    words = alias(words)
    shown = io.StringIO()
    command: Any = typer.main.get_command(build(words))
    try:
        # typer prints help by itself; here it is an answer like others.
        with (
            contextlib.redirect_stdout(shown),
            command.make_context("ribcage", words, obj=session) as context,
        ):
            command.invoke(context)
            status = 0
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError" and not output.json:
            streams.written(str(error).strip() + "\n")  # `ribcage`, `ribcage route`: what there is
            return Exit.USAGE
        raise misused(error, words) from None
    except typer.Exit as end:
        status = end.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    finally:
        session.hang_up()
    if text := shown.getvalue().rstrip():
        output.answer({"help": text}, text)
    return int(status)


def _refused(output: Output, error: RibcageError) -> int:
    if error.code == "E_OUTPUT":
        output.lost(error)
    else:
        output.error(error, getattr(error, "details", None))
    return error.exit_code


def _interrupted(output: Output, stopped: KeyboardInterrupt) -> int:
    """Says how far the command came; `stopped` from a library counts as Ctrl-C."""
    status = int(getattr(stopped, "status", INTERRUPTED))
    if getattr(stopped, "torn", False):  # its reader does not read: nothing more can be said
        return status
    so_far = f": {output.reached}" if output.reached else ""
    error = RibcageError("E_INTERRUPTED", f"terminated{so_far}", None, status)
    if status == INTERRUPTED:
        error = RibcageError("E_INTERRUPTED", f"interrupted{so_far}", None, status)
    return _refused(output, error)


def _bug(output: Output, error: Exception) -> int:
    if output.options.verbose:
        streams.written("".join(traceback.format_exception(error)))
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {Path(where[0].filename).name}:{where[0].lineno}" if where else ""
    return _refused(
        output,
        RibcageError(
            "E_INTERNAL",
            f"{type(error).__name__}: {error!s:.200}{place}",
            "this is a bug in ribcage; -v shows the traceback to report",
            Exit.INTERNAL,
        ),
    )
