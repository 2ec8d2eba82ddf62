"""Whether a command line begins a router, seen at a glance, before typer is loaded."""

import os
from collections.abc import Sequence

from ribcage.controlplane.supervisor.start.early import CONTROL, DAEMON, Early

ONLY_TALK = ("-h", "--help")


def early_of(words: Sequence[str]) -> Early:
    """A process that loads meanwhile what a router needs, for `run` alone. Not where a service
    manager kept the router's state: there a control lives already, as a rule."""
    stored = "LISTEN_FDNAMES" in os.environ
    if list(words[:1]) != ["run"] or stored or any(word in ONLY_TALK for word in words):
        return Early()
    return Early.spawn(*(DAEMON if "--daemon" in words else CONTROL))
