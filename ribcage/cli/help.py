"""`ribcage help [COMMAND ...]`, `ribcage help drop REASON`, `ribcage help error CODE`."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from ribcage.cli.answer.tables import hanging
from ribcage.cli.session import Session, session_of, usage

HELP = """\b
Examples:
  ribcage help route add
  ribcage help drop no-route
  ribcage help error E107"""


def register(root: typer.Typer) -> None:
    root.command("help", help=HELP, short_help="about a command, a drop reason, an error code")(
        help_
    )


def help_(
    context: typer.Context,
    topic: Annotated[
        list[str] | None, typer.Argument(help="a command, or: drop REASON, error CODE")
    ] = None,
) -> None:
    from ribcage.cli.app import alias

    session = session_of(context)
    words = topic or []
    if words[:1] == ["drop"]:
        name, text = _drop(words[1:])
        session.output.answer({"drop": name, "help": text}, _fitting(session, f"{name}: {text}"))
        return
    if words[:1] == ["error"]:
        name, text = _error(words[1:])
        said = _fitting(session, f"{name}: {text}")
        session.output.answer({"error_code": name, "help": text}, said)
        return
    text = _command(context, alias(words))
    session.output.answer({"help": text}, text)


def _fitting(session: Session, text: str) -> Iterator[str]:
    """The lines of text, wrapped where a terminal is too narrow for them."""
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        yield from hanging(indent, line.strip(), session.output.width)


def _drop(words: Sequence[str]) -> tuple[str, str]:
    from ribcage.cli.reasons import REASONS
    from ribcage.controlplane.config.toml.suggest import closest

    if len(words) != 1:
        raise usage("which drop reason?", f"one of: {', '.join(REASONS)}")
    if words[0] not in REASONS:
        guess = closest(words[0], REASONS) or closest(words[0].replace("_", "-"), REASONS)
        hint = f"did you mean {guess}?" if guess else f"one of: {', '.join(REASONS)}"
        raise usage(f"there is no drop reason {words[0][:40]!r}", hint)
    reason = REASONS[words[0]]
    return words[0], f"{reason.what}\n  {reason.why}\n  To do: {reason.do}"


def _error(words: Sequence[str]) -> tuple[str, str]:
    from ribcage.controlplane.config.toml.suggest import closest
    from ribcage.shared.codes import CODES

    if len(words) != 1:
        raise usage("which error code?", "such as E107 or E_NO_DAEMON; docs/errors.md has them all")
    code = words[0].strip("[]").upper()
    if code not in CODES:
        guess = closest(code, CODES) or closest(f"E_{code}", CODES)
        hint = f"did you mean {guess}?" if guess else "docs/errors.md has them all"
        raise usage(f"there is no error code {words[0][:40]!r}", hint)
    meaning, remedy = CODES[code]
    return code, f"{meaning}\n  To do: {remedy}"


def _command(context: typer.Context, words: Sequence[str]) -> str:
    """The help text of a command, found as the command line finds it."""
    from ribcage.cli.answer.misuse import unknown_command

    here: Any = context.parent
    command = here.command
    for word in words:
        following = getattr(command, "commands", {}).get(word)
        if following is None:
            raise unknown_command(word, here.command_path, getattr(command, "commands", {}))
        here = type(context)(following, info_name=word, parent=here)
        command = following
    return str(command.get_help(here)).rstrip()
