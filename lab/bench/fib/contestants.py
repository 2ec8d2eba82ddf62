"""Who is measured: engines and strategies of this build, peers that this machine has.

    choices = engines(4)                         # {"compact": 2, ...}, from the C tables
    ours = choose(4, ["compact"], ["epoch"])     # every engine with every strategy
    with started(ours, ["dpdk"], folder, cpu) as programs: ...

E_ENGINE, E_STRATEGY, E_PEER name what there is (exit 2); a peer that is not installed says how to
get it (exit 5).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.lab.bench.fib.build import build, dpdk_missing
from ribcage.lab.bench.fib.program import Program
from ribcage.lab.bench.fib.python_peer import MODULES
from ribcage.lab.bench.fib.table import Rows
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.memory.fib_engines import default_engine, engines
from ribcage.shared.memory.fib_sync import (
    DEFAULT_STRATEGY,
    STRATEGIES,
    TEACHING,
    WITH_SEMAPHORE,
    create_semaphore,
    remove_semaphore,
)
from ribcage.shared.process.python import python

PEERS = ("dpdk", *MODULES)


@dataclass(frozen=True, slots=True)
class Ours:
    """One engine under one strategy."""

    family: int
    engine: str
    engine_id: int
    strategy: str
    strategy_id: int

    @property
    def name(self) -> str:
        return f"{self.engine}/{self.strategy}"

    def params(self, table: Rows, updates: Rows | None) -> Any:
        """A `struct fib_params` with room for the table and what the stream may add."""
        routes = table.count + (updates.count if updates is not None else 0) + 1024
        return _params(self.family, routes, self.engine_id, self.strategy_id)


def choose(
    family: int, named: Sequence[str], synced: Sequence[str], teach: bool = False
) -> list[Ours]:
    """Every one of these engines with every one of these strategies; [] means the default.
    E_TEACH for the strategy that shows torn reads, unless they are wanted."""
    chosen = _known(synced or [DEFAULT_STRATEGY], STRATEGIES, "E_STRATEGY", "strategy")
    if (wrong := next((s for s in chosen if s in TEACHING), None)) and not teach:
        raise RibcageError(
            "E_TEACH",
            f"strategy {wrong} answers torn and foreign reads; it is there to show them",
            "add --teach to measure it nevertheless",
            Exit.USAGE,
        )
    return [
        Ours(family, e, engines(family)[e], s, STRATEGIES[s])
        for e in _known(
            named or [default_engine(family)], engines(family), "E_ENGINE", f"IPv{family} engine"
        )
        for s in chosen
    ]


def choose_peers(named: Sequence[str]) -> list[str]:
    """The peers, each of them there. `none` is no peer."""
    peers = [peer for peer in _known(named, [*PEERS, "none"], "E_PEER", "peer") if peer != "none"]
    for peer in peers:
        if peer == "dpdk":
            if (missing := dpdk_missing()) is not None:
                raise missing
        elif importlib.util.find_spec(MODULES[peer]) is None:
            raise RibcageError(
                "E_NO_PEER",
                f"{peer} is not installed beside this ribcage",
                f"{sys.executable} -m pip install {peer}; or leave out --against {peer}",
                Exit.PRIVILEGE,
            )
    return peers


def _known(named: Sequence[str], known: Any, code: str, what: str) -> list[str]:
    listed = [word for words in named for word in words.split(",") if word]
    for word in listed:
        if word not in known:
            raise RibcageError(
                code,
                f"there is no {what} {word[:40]!r}",
                f"one of: {', '.join(known)}",
                Exit.USAGE,
            )
    return list(dict.fromkeys(listed))


@contextmanager
def started(
    ours: Sequence[Ours], peers: Sequence[str], folder: Path, table: Rows, cpu: int
) -> Iterator[dict[str, Program]]:
    """Every contestant as a process on `cpu`, by name; ours first. They all end with the block."""
    with ExitStack() as stack:
        programs: dict[str, Program] = {}

        def start(name: str, *line: object) -> None:
            words = [str(word) for word in line]
            programs[name] = stack.enter_context(Program(name, words, cpu))

        for one in ours:
            program = build("ribcage_fib")
            number = stack.enter_context(semaphore_for(one))
            start(one.name, program, table.family, folder, params_file(one), cpu, number)
        for peer in peers:
            if peer == "dpdk":
                start(peer, build("dpdk_fib"), table.family, folder, "-", cpu)
            else:
                module = "ribcage.lab.bench.fib.python_peer"
                start(peer, *python(module, peer, str(table.family), str(folder)))
        yield programs


@contextmanager
def semaphore_for(one: Ours) -> Iterator[int]:
    """The id of a System V set for a strategy that wants one, removed at the end; else -1."""
    if one.strategy not in WITH_SEMAPHORE:
        yield -1
        return
    _, number = create_semaphore()
    try:
        yield number
    finally:
        remove_semaphore(number)


def params_file(one: Ours) -> str:
    return f"params-{one.engine_id}-{one.strategy_id}.bin"


def _params(family: int, routes: int, engine: int, strategy: int) -> Any:
    """Fields that this build has not are left out: it then has one choice only."""
    params = ffi.new("struct fib_params *")
    wanted = {
        "max_routes4": routes if family == 4 else 1,
        "max_routes6": routes if family == 6 else 1,
        "max_groups": lib.FIB_MAX_GROUPS,
        "max_adjacencies": 64,
        "instance_id": 1,
        f"engine{family}": engine,
        "strategy": strategy,
    }
    there = {name for name, _ in ffi.typeof(params[0]).fields}
    for name, value in wanted.items():
        if name in there:
            setattr(params, name, value)
    return params
