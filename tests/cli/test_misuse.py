"""Mistakes are told in our words, with the next thing to type; libraries' texts never leak."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from ribcage import cli
from ribcage.cli import app
from ribcage.cli.answer.misuse import ELSEWHERE
from ribcage.shared.process.names import Names

# What typer, click and pydantic say by themselves.
THEIRS = re.compile(
    r"Input should|unable to parse|Invalid value|No such (option|command)|Missing (argument|option)"
    r"|Got unexpected|does not take a value|requires an argument|valid (integer|number)|pydantic",
    re.I,
)
MISTAKES = [
    ("route show --family x", "--family 'x' is not a whole number", "see: ribcage route show"),
    ("fib verify --samples 1.5", "--samples '1.5' is not a whole number", "see: "),
    ("explain 10.0.0.1 --ttl 256", "--ttl '256' is outside 0..255", "see: "),
    ("route show --limit -3", "--limit '-3' is below 0", "see: "),
    ("drops --for x", "--for 'x' is not a number", "see: "),
    ("drops --for", "--for needs a value", "see: ribcage drops"),
    ("stats --check=yes", "--check takes no value", "see: ribcage stats"),
    ("ps --mpas", "no option --mpas", "did you mean --maps?"),
    ("-jx ps", "no option -x", "see: "),
    ("ps -x", "no option -x", "see: "),
    ("ps more words", "too many words: more words", "see: ribcage ps"),
    ("route get", "needs DST: an address", "see: ribcage route get"),
    ("rout show", "no command 'ribcage rout'", "did you mean: ribcage route?"),
    ("status", "no command 'ribcage status'", "did you mean: ribcage ps?"),
    ("route delete 10.0.0.0/8", "'ribcage route delete'", "did you mean: ribcage route del?"),
    ("xyzzy", "no command 'ribcage xyzzy'", "commands: run, stop"),
    ("show", "show what?", "commands: route, fib"),
    ("show interfaces", "'ribcage show interfaces'", "did you mean: ribcage show stats?"),
    ("explain 10.0.1.2 --dport 53", "are of TCP and UDP", "add --protocol tcp"),
    ("explain --frame 00 --ttl 4", "--ttl beside --frame", "leave one out"),
    ("help psx", "'ribcage psx'", "did you mean: ribcage ps?"),
    ("help route shw", "'ribcage route shw'", "did you mean: ribcage route show?"),
    ("show stop", "no command 'ribcage show stop'", "commands: "),
    ("route add 10.0.0.0/8 via 10.0.0.1 metric -1", "metric -1 is outside 0..4294967295", ""),
    ("route add 10.0.0.0/8 via 10.0.0.1 metric 1.5", "'1.5' is not a whole number", ""),
    ("route add 10.0.0.0/8 drop", "'drop'", "did you mean blackhole?"),
    ("route add 10.0.0.0/8 dev e --wiat none", "no option --wiat", "did you mean --wait?"),
    ("-s /etc/passwd ps", "/etc/passwd", "/etc/passwd is no socket"),
    ("-s /nonexistent ps", "/nonexistent", "/nonexistent is not there"),
]


@pytest.mark.parametrize(("line", "message", "hint"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_named_and_the_way_out_shown(
    line: str, message: str, hint: str, router: Any, ribcage: Any
) -> None:
    """Quoted word, what fits there, the nearest known word; the same under -j."""
    ran = ribcage(*line.split())
    assert ran.out == ""
    assert not THEIRS.search(ran.err), ran.err
    error = ribcage("-j", *line.split()).document["error"]
    assert message in error["message"]
    assert hint in (error["hint"] or "")
    assert router.asked == []


def test_every_option_refuses_nonsense_in_our_words(router: Any, ribcage: Any) -> None:
    """Each option of each command with a value that cannot be: no text of a library."""
    tree: Any = typer.main.get_command(app.build())
    lines = []
    for name, command in tree.commands.items():
        for verb, one in getattr(command, "commands", {"": command}).items():
            needed = ["10.0.0.0/8" for p in one.params if p.param_type_name == "argument"]
            for param in one.params:
                if param.param_type_name == "option":
                    lines.append([name, verb, *needed, f"{param.opts[0]}=\x01"])
            lines.append([name, verb, *needed, "--nosuch"])
            lines.append([name, verb, *needed, *"abcdefgh"])
    assert len(lines) > 60
    for line in lines:
        if line[0] in ("run", "stop", "reload", "bench", "doctor", "lab"):  # would do something
            continue
        ran = ribcage(*[word for word in line if word])
        assert not THEIRS.search(ran.err), (line, ran.err)
        assert "Traceback" not in ran.err


def test_hints_of_other_tools_words_lead_to_commands_that_exist() -> None:
    """Every word on the right of ELSEWHERE is a command or a verb."""
    tree: Any = typer.main.get_command(app.build())
    verbs = {verb for one in tree.commands.values() for verb in getattr(one, "commands", ())}
    assert set(ELSEWHERE.values()) <= {*tree.commands, *verbs}
    assert not set(ELSEWHERE) & set(app.COMMANDS)


def test_nobody_listens_where_a_router_was(ribcage: Any, router: Any) -> None:
    """A hint names routers, never files that merely have the same name."""
    folder = router.path.parent.parent.parent
    names = Names("bin", folder)
    names.make_run_dir()
    names.control_socket.write_text("")
    ran = ribcage("-i", "r2", "ps")
    assert ran.status == 4
    assert "running here: r1 (choose with -i)" in ran.err


def test_a_command_is_one_file_and_its_name_in_one_line(
    ribcage: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """docs/extending: a module with register(), and its name in app.COMMANDS."""
    (tmp_path / "greet.py").write_text(
        "import typer\n"
        "from ribcage.cli.session import session_of\n\n\n"
        "def greet(context: typer.Context, name: str) -> None:\n"
        '    """Says hello."""\n'
        '    session_of(context).output.answer({"hello": name}, f"hello {name}")\n\n\n'
        "def register(root: typer.Typer) -> None:\n"
        '    root.command("greet", short_help="say hello")(greet)\n'
    )
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    monkeypatch.setattr(app, "COMMANDS", (*app.COMMANDS, "greet"))
    assert ribcage("greet", "you").out == "hello you\n"
    assert ribcage("-j", "greet", "you").document == {"schema": 1, "hello": "you"}
    assert re.search(r"greet +say hello", ribcage("--help").out)
    assert "did you mean: ribcage greet?" in ribcage("gret").err


def test_every_file_of_a_command_is_in_the_list() -> None:
    """A module or folder with register() that --help does not show would be forgotten."""
    folder = Path(app.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\ndef register(" in path.read_text()}
    for path in folder.glob("*/__init__.py"):
        if hasattr(import_module(f"ribcage.cli.{path.parent.name}"), "register"):
            files.add(path.parent.name)
    assert files == set(app.COMMANDS)


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["route", "show", "--version"]])
def test_version_is_an_option_too(words: list[str], ribcage: Any) -> None:
    """As every other program has it."""
    assert ribcage(*words).out == ribcage("version").out
    assert ribcage("-j", *words).document["version"]


def test_help_fits_a_screen_at_every_level(ribcage: Any) -> None:
    """80 columns; -h and --help say the same."""
    tree: Any = typer.main.get_command(app.build())
    lines = [[]]
    for name, command in tree.commands.items():
        lines.append([name])
        lines += [[name, verb] for verb in getattr(command, "commands", {})]
    for line in lines:
        shown = ribcage(*line, "--help")
        assert shown.status == 0
        assert [text for text in shown.out.splitlines() if len(text) > 80] == [], line
        assert ribcage(*line, "-h").out == shown.out
