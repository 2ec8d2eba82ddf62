"""The tree of commands: object, then verb. One file an object beside this one.

typer builds it from the functions' signatures; nothing heavy (pydantic, rich, the compiled
module) is imported until a command needs it, so that the shortest commands stay short.
"""

import typer

from ribcage.cli import (
    bench,
    config,
    drops,
    explain,
    fib,
    help,
    ps,
    reload,
    route,
    run,
    stats,
    stop,
    version,
)
from ribcage.cli.doctor import HELP as DOCTOR_HELP
from ribcage.cli.doctor import doctor
from ribcage.cli.options import HELP as GLOBAL_HELP


def build() -> typer.Typer:
    """The whole command; made once an invocation."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=_root_help(),
    )
    app.callback()(_root)
    one = app.command
    one("run", help=run.HELP, short_help="start a router from a file")(run.run)
    one("stop", help=stop.HELP, short_help="stop a router")(stop.stop)
    one("reload", help=reload.HELP, short_help="give it a new configuration")(reload.reload)
    one("ps", help=ps.HELP, short_help="its processes and their rights")(ps.ps)
    app.add_typer(route.app, name="route", short_help="the routing table", help=_GROUP["route"])
    one("explain", help=explain.HELP, short_help="what would happen to a packet")(explain.explain)
    app.add_typer(fib.app, name="fib", short_help="the forwarding table", help=_GROUP["fib"])
    one("stats", help=stats.HELP, short_help="packets, counted")(stats.stats)
    one("drops", help=drops.HELP, short_help="packets dropped, by reason")(drops.drops)
    app.add_typer(config.app, name="config", short_help="check a file", help=_GROUP["config"])
    app.add_typer(bench.app, name="bench", short_help="measure", help=_GROUP["bench"])
    one("doctor", help=DOCTOR_HELP, short_help="what this machine can do")(doctor)
    one("version", help=version.HELP, short_help="what is installed")(version.version)
    one("help", help=help.HELP, short_help="about a command or a drop reason")(help.help_)
    return app


def _root() -> None:
    """Global options are taken out of the line before typer sees it: options.py."""


def alias(words: list[str]) -> list[str]:
    """`show route` = `route show`, as other routers have it."""
    if len(words) >= 2 and words[0] in ("show", "sh"):
        if words[1] in ("route", "fib"):
            return [words[1], "show", *words[2:]]
        if words[1] in ("stats", "drops", "version", "ps"):
            return words[1:]
    return words


def _root_help() -> str:
    return (
        "\b\nExamples:\n  ribcage run -c ribcage.toml\n  ribcage route show\n\n\b\n"
        + GLOBAL_HELP
        + "\n\b\nExit status: 0 done or yes, 1 no, 2 usage, 3 config, 4 no daemon, 5 privilege,\n"
        "6 timeout, 7 internal, 8 already running, 130 Ctrl-C."
    )


_GROUP = {
    "bench": "\b\nExamples:\n  ribcage bench fib --quick\n"
    "  ribcage -j bench fib --family 6 --against dpdk",
    "route": "\b\nExamples:\n  ribcage route show\n  ribcage route add 203.0.113.0/24 via 10.0.2.9",
    "fib": "\b\nExamples:\n  ribcage fib show\n  ribcage fib verify",
    "config": "\b\nExamples:\n  ribcage config check ribcage.toml\n"
    "  ribcage config compile --plan ribcage.toml",
}
