"""Whose request is answered next, and which clients are served at all."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ribcage.controlplane.management import peer
from ribcage.controlplane.management.clients.turns import Turns
from ribcage.controlplane.management.peer import Peer, Role, RoleTable
from ribcage.shared.management import ManagementClient
from ribcage.shared.plan import ManagementPlan
from tests.controlplane.management.bench import DEADLINE, Bench, dial, eventually, line

ALICE, BOB, ROOT = (Peer(11, 1000, 1000, Role.VIEWER), Peer(12, 1001, 1001, Role.VIEWER),
                    Peer(13, 0, 0, Role.ADMIN))  # fmt: skip


def run(test: Callable[[Turns], Awaitable[None]], rate: float = 1e6, share: float = 1.0) -> None:
    async def main() -> None:
        turns = Turns(rate, share)
        for one in (ALICE, BOB, ROOT):
            turns.join(one)
        await asyncio.wait_for(test(turns), DEADLINE)

    asyncio.run(main())


def test_who_has_cost_less_goes_first() -> None:
    """Three wait while one is served; the cheapest is next, whoever came first."""

    async def test(turns: Turns) -> None:
        order: list[int] = []

        async def ask(who: Peer, cost: float) -> None:
            await turns.turn(who)
            order.append(who.pid)
            turns.done(who, cost)

        for who, cost in ((ALICE, 0.003), (BOB, 0.002), (ROOT, 0.001)):
            await ask(who, cost)
        order.clear()
        await turns.turn(ALICE)
        waiting = [asyncio.ensure_future(ask(who, 0)) for who in (ALICE, BOB, ROOT)]
        await asyncio.sleep(0)
        turns.done(ALICE, 0)
        await asyncio.gather(*waiting)
        assert order == [ROOT.pid, BOB.pid, ALICE.pid]

    run(test)


def test_one_user_gets_its_share_and_an_admin_is_not_slowed() -> None:
    """max_rate holds a viewer back and nobody else: between two of its turns root has many."""

    async def test(turns: Turns) -> None:
        counts = {ALICE.pid: 0, ROOT.pid: 0}
        over = asyncio.Event()

        async def hurry(who: Peer) -> None:
            while not over.is_set():
                await turns.turn(who)
                counts[who.pid] += 1
                turns.done(who, 0)
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(hurry(who)) for who in (ALICE, ROOT)]
        begun = asyncio.get_running_loop().time()
        while counts[ALICE.pid] < 30:
            await asyncio.sleep(0.001)
        took = asyncio.get_running_loop().time() - begun
        over.set()
        await asyncio.gather(*tasks)
        assert took >= (30 - 100 * 0.1 - 2) / 100  # at 100 a second, a tenth of a second ahead
        assert counts[ROOT.pid] > counts[ALICE.pid] and turns.delayed > 0

    run(test, rate=100)


def test_a_turn_that_nobody_takes_any_more_passes_on() -> None:
    """Cancelled while it waits, and cancelled in the moment it is granted."""

    async def test(turns: Turns) -> None:
        await turns.turn(ALICE)
        dropped = asyncio.ensure_future(turns.turn(BOB))
        await asyncio.sleep(0)
        dropped.cancel()
        turns._grant()  # in the same turn of the loop: the task has not seen its end yet
        await asyncio.sleep(0)
        assert dropped.cancelled()
        await turns.turn(ALICE)
        gone = asyncio.ensure_future(turns.turn(BOB))
        granted = asyncio.ensure_future(turns.turn(BOB))
        last = asyncio.ensure_future(turns.turn(ROOT))
        await asyncio.sleep(0)
        gone.cancel()
        turns.done(ALICE, 0)
        while not (granted.done() or last.done()):
            await asyncio.sleep(0)
        if not last.done():
            granted.cancel()
            turns.done(BOB, 0)
        await last

    run(test)


def test_pipelining_dear_questions_delays_a_cheap_one_by_two_at_most(path: Path) -> None:
    """Twenty clients pipeline 50 dear requests each; a ping that comes meanwhile is answered
    after the one in progress, not after all of them."""
    with Bench(path) as bench, contextlib.ExitStack() as stack:
        hogs = [stack.enter_context(dial(path)) for _ in range(20)]
        bench.peers = [Peer(100 + i, 0, 0, Role.ADMIN) for i in range(20)]
        with bench.held():
            for hog in hogs:
                hog.sendall(b"".join(line(i, "dear") for i in range(50)))
        client = stack.enter_context(ManagementClient(path, DEADLINE))
        client.call("echo")  # connected, and known
        eventually(lambda: bench.answered.count("dear") > 20, "they are at work")
        assert bench.answered.count("dear") < 900
        with bench.held():
            before = len(bench.answered)
            raw = dial(path)
            stack.enter_context(raw)
            raw.sendall(line(1, "cheap"))
        assert json.loads(raw.makefile().readline())["result"] == "cheap"
        assert bench.answered.index("cheap") - before <= 3


def test_a_process_that_takes_all_places_gives_way(path: Path) -> None:
    """It keeps every place and goes on connecting: another process is let in each time, and the
    one that gives way is the hog's."""
    with Bench(path, max_clients=8) as bench, contextlib.ExitStack() as stack:
        bench.peers = [Peer(7, 1000, 1000, Role.ADMIN)] * 8
        hogs = [stack.enter_context(dial(path)) for _ in range(8)]
        eventually(lambda: len(bench.server._connections) == 8, "all places are taken")
        for number in range(3):
            bench.peers = [Peer(50 + number, 1000, 1000, Role.ADMIN)]
            with ManagementClient(path, DEADLINE) as client:
                assert client.call("echo") == {}
        assert bench.server.counters["gave_way"] >= 1
        assert bench.server.counters["turned_away"] == 0
        assert hogs[0].recv(1) == b""


def test_one_user_has_its_number_of_clients(path: Path) -> None:
    """max_per_user: the next is told why; another user and an admin are served."""
    with Bench(path, max_per_user=2) as bench, contextlib.ExitStack() as stack:
        bench.peers = [Peer(1, 1000, 1000, Role.VIEWER), Peer(2, 1000, 1000, Role.VIEWER),
                       Peer(3, 1000, 1000, Role.VIEWER), Peer(4, 1001, 1001, Role.VIEWER),
                       Peer(5, 0, 0, Role.ADMIN)]  # fmt: skip
        socks = [stack.enter_context(dial(path)) for _ in range(3)]
        told = json.loads(socks[2].makefile().readline())["error"]
        assert told["data"]["code"] == "E_TOO_MANY_CLIENTS"
        assert "max_per_user" in told["message"]
        for _ in range(2):
            with ManagementClient(path, DEADLINE) as client:
                assert client.call("echo") == {}


def test_a_reading_ends_with_its_client(path: Path) -> None:
    """Thirty long readings whose clients leave: all end, two at most had begun at once."""
    with Bench(path, max_clients=40) as bench, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(path)) for _ in range(30)]
        for sock in socks:
            sock.sendall(line(1, "read"))
        eventually(lambda: bench.server.counters["requests"] == 30, "all have asked")
        eventually(lambda: bench.answered.count("begun") >= 2, "some are at work")
        for sock in socks:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        eventually(lambda: not bench.server._connections, "all are gone")
        eventually(
            lambda: bench.answered.count("begun") == bench.answered.count("ended"), "all ended"
        )
        assert not bench.server._dispatcher.left


def test_roles_are_by_user_and_by_group() -> None:
    """Names and numbers; the highest counts; root is always admin, a stranger looks."""
    roles = RoleTable.of(
        ManagementPlan(operators=("1000", "@2000"), admins=("@2001", "no-such-user"))
    )
    assert roles.role(0, []) is Role.ADMIN
    assert roles.role(1000, [5]) is Role.OPERATOR
    assert roles.role(1001, [5, 2000]) is Role.OPERATOR
    assert roles.role(1000, [2001]) is Role.ADMIN
    assert roles.role(1002, [5]) is Role.VIEWER


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user")
def test_a_supplementary_group_counts(tmp_path: Path) -> None:
    """The kernel tells a peer's groups (SO_PEERGROUPS): a member of @2000 is an operator."""
    ours, theirs = socket.socketpair()
    roles = RoleTable.of(ManagementPlan(operators=("@2000",)))
    listener = socket.socket(socket.AF_UNIX)
    name = f"\0ribcage-test-{os.getpid()}-groups"
    listener.bind(name)
    listener.listen()
    child = os.fork()
    if child == 0:
        os.setgroups([3, 2000])
        os.setresgid(65533, 65533, 65533)
        os.setresuid(65533, 65533, 65533)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(name)
        sock.recv(1)
        os._exit(0)
    sock, _ = listener.accept()
    assert peer.peer_of(sock, roles) == Peer(child, 65533, 65533, Role.OPERATOR)
    for one in (sock, listener, ours, theirs):
        one.close()
    os.waitpid(child, 0)
