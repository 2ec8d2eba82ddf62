"""Moves prefixes between next hops for as long as a run lasts, and asks whether they are kept.

    python -m ribcage.lab.chaos.churn --socket PATH --folder F --seed 1 --rate 40

One JSON line of each thing that happens, in FOLDER/churn.jsonl: `ask` before a command leaves,
`ack` when it was acknowledged, `fail` when no answer came (then the same command is tried again
until one does: what is acknowledged is always known), `lost` when the router does not have what
it acknowledged, in RIB (`route.list`) or FIB (`route.get`). Times are monotonic nanoseconds.
A line `again` on standard input, told when the router had to be started anew, puts all routes back.
Ends with its standard input.
"""

import argparse
import contextlib
import json
import random
import select
import sys
import time
from pathlib import Path
from typing import Any

from ribcage.lab.chaos import plan
from ribcage.shared.errors import RibcageError
from ribcage.shared.management import ManagementClient

TIMEOUT = 1.0  # seconds to wait for an acknowledgement before the same is asked again
RETRY = 0.005  # pause after a failure
CHECK = 0.7  # seconds between two comparisons
SECOND_LOOK = 0.3  # a FIB that differs is looked at again after so many seconds


class Churn:
    """The prefixes and what was acknowledged of each."""

    def __init__(self, socket: Path, file: Any, seed: int) -> None:
        self._client = ManagementClient(socket, TIMEOUT)
        self._file = file
        self._random = random.Random(seed)
        self._flows = {flow.moved: flow for flow in plan.flows()}
        self.prefixes = [*self._flows, *plan.bystanders()]
        self.known: dict[str, int | None] = dict.fromkeys(self.prefixes)
        self.told: set[str] = set()  # prefixes whose FIB answer was told as wrong

    def step(self) -> bool:
        """One random change; False when it is not to be had before the input ends."""
        prefix = self._random.choice(self.prefixes)
        now = self.known[prefix]
        choices: list[int | None] = [*range(1, plan.SINKS + 1), None]
        return self.lead(prefix, self._random.choice([one for one in choices if one != now]))

    def lead(self, prefix: str, sink: int | None) -> bool:
        """Asks until it is acknowledged."""
        family = 6 if ":" in prefix else 4
        if sink is None:
            method, params = "route.del", {"dst": prefix, "metric": 0, "wait": "visible"}
        else:
            hops = [{"via": plan.via(sink, family)}]
            method = "route.add"
            params = {"dst": prefix, "nexthops": hops, "metric": 0, "wait": "visible"}
        failed = False
        while True:
            self._tell("ask", prefix, sink)
            try:
                self._client.call(method, params)
                break
            except RibcageError as error:
                if sink is None and error.code == "E_NOT_FOUND":
                    if not failed:  # else it went by a command whose answer did not come
                        self._tell("lost", prefix, self.known[prefix], have=None, where="rib")
                    break
                self._tell("fail", prefix, sink, code=error.code)
                self._client.close()
                failed = True
            if not _awake(RETRY):
                return False
        self.known[prefix] = sink
        self._tell("ack", prefix, sink, after_failure=failed)
        return True

    def all_again(self) -> None:
        for prefix, sink in self.known.items():
            self._tell("ask", prefix, None)
            if sink is not None and not self.lead(prefix, sink):
                return

    def check(self) -> None:
        """Compares all that was acknowledged with what the router has; a router that does not
        answer is not asked twice."""
        with contextlib.suppress(RibcageError):
            found = self._listed()
            for prefix, want in self.known.items():
                if found.get(prefix) != want:
                    self._tell("lost", prefix, want, have=found.get(prefix), where="rib")
                    self.known[prefix] = found.get(prefix)
            for flow in self._random.sample(list(self._flows.values()), 4):
                self._look(flow)

    def _look(self, flow: plan.NumberedFlow) -> None:
        """Whether the FIB leads a flow where the RIB says; told when it does not twice."""
        want = self.known[flow.moved] or flow.home
        have = self._answer(flow)
        if have == want:
            self.told.discard(flow.moved)
            return
        if not _awake(SECOND_LOOK):
            return
        have = self._answer(flow)
        if have != want and flow.moved not in self.told:
            self.told.add(flow.moved)
            self._tell("lost", flow.moved, want, have=have, where="fib")

    def _answer(self, flow: plan.NumberedFlow) -> int | None:
        try:
            return plan.sink_of(self._client.call("route.get", {"dst": flow.target})["gateway"])
        except RibcageError as error:
            if error.code == "E_NO_ROUTE":
                return None
            raise

    def _listed(self) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        cursor: str | None = None
        while True:
            params = {"source": "added"} | ({"cursor": cursor} if cursor else {})
            page = self._client.call("route.list", params)
            for row in page["routes"]:
                hops = row.get("nexthops") or [{}]
                if row.get("dst") in self.known and row.get("protocol") == "added":
                    found[row["dst"]] = plan.sink_of(hops[0].get("via"))
            cursor = page["cursor"]
            if not cursor:
                return found

    def _tell(self, what: str, prefix: str, sink: int | None, **more: Any) -> None:
        line = {"what": what, "t": time.monotonic_ns(), "prefix": prefix, "sink": sink, **more}
        self._file.write(json.dumps(line).encode() + b"\n")


def _awake(seconds: float) -> bool:
    """Waits; False when the input has ended."""
    poller = select.poll()  # a line that waits there is for later: only the hang-up counts
    poller.register(sys.stdin, select.POLLHUP)
    return not poller.poll(max(seconds, 0) * 1000)


def run(churn: Churn, rate: float) -> None:
    """All prefixes once, then random changes, until the input ends."""
    for prefix in churn.prefixes:
        churn.lead(prefix, churn.known[prefix] or 1 + hash_of(prefix) % plan.SINKS)
    print("ready", flush=True)
    due = checked = time.monotonic()
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], max(due - time.monotonic(), 0))
        if ready:
            if sys.stdin.readline().strip() != "again":
                break
            churn.all_again()
        due = max(due + 1 / rate, time.monotonic())
        churn.step()
        if time.monotonic() - checked > CHECK:
            churn.check()
            checked = time.monotonic()
    churn.check()


def hash_of(text: str) -> int:
    """The same in every process, unlike hash()."""
    return sum(text.encode())


def main() -> None:
    """Command-line face."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=40.0)
    args = parser.parse_args()
    with (args.folder / "churn.jsonl").open("ab", buffering=0) as file:
        run(Churn(args.socket, file, args.seed), args.rate)


if __name__ == "__main__":
    main()
