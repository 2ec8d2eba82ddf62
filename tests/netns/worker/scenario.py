"""What the worker's scenarios have in common. A scenario is a function without arguments whose
docstring is the promise; test_scenarios.py runs each in namespaces of its own:

    unshare -Urni python -m tests.netns.worker.drops NAME     exit 0: kept; else a traceback
"""

import sys
from collections.abc import Mapping
from typing import Any

from tests.netns.worker.frames import (
    udp_frame,
)
from tests.netns.worker.lab import Lab, wait_for

SMALL = {"slots": 2048}  # with small slots: many frames, little memory


def frame(lab: Lab, target: str, payload: bytes = b"hello", **words: object) -> bytes:
    source = "fd00:1::2" if ":" in target else "10.1.0.2"
    return udp_frame(lab.peer_mac[0], lab.mac[0], source, target, payload, **words)  # type: ignore[arg-type]


def wait_counted(lab: Lab, rx: int) -> None:
    """Every packet sent is counted, and nothing waits."""
    wait_for(f"rx {rx}", lambda: lab.total("rx") >= rx)


def main(names: Mapping[str, Any]) -> None:
    """Runs the scenarios that the command line names."""
    for name in sys.argv[1:]:
        names[name]()
