"""No wait on the kernel is for ever: requests, threads, passes under way at the stop."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ribcage.controlplane.kernel.changes import filter as transit
from ribcage.controlplane.kernel.changes.journal import Journal
from ribcage.controlplane.kernel.changes.settings import Sysctls
from ribcage.controlplane.kernel.links import LinkTable
from ribcage.controlplane.kernel.netlink.deadline import KernelSilent, Netlink, ended, in_thread
from ribcage.controlplane.kernel.provisioner import Provisioner


def silent(*_: object, **__: object) -> None:
    pass


async def never(*_: object, **__: object) -> Any:
    await asyncio.Event().wait()


def test_a_request_without_an_answer_is_named() -> None:
    """KernelSilent says which request, about what, and how long it was waited for."""

    async def main() -> None:
        async with Netlink(timeout=0.05) as netlink:
            netlink._route.link = never
            with pytest.raises(KernelSilent, match=r"`link set 7` within 0\.05 s"):
                await netlink.link("set", index=7, mtu=1400)

    asyncio.run(main())


def test_a_thread_brings_its_result_or_its_exception() -> None:
    """As asyncio.to_thread, with every signal blocked in it."""

    async def main() -> None:
        assert await in_thread(5.0, lambda a, b: a + b, 1, b=2) == 3
        with pytest.raises(ValueError, match="boom"):
            await in_thread(5.0, int, "boom")
        blocked = await in_thread(5.0, Path("/proc/thread-self/status").read_text)
        mask = int(blocked.split("SigBlk:")[1].split()[0], 16)
        assert mask & (1 << 14)  # SIGTERM

    asyncio.run(main())


def test_a_thread_that_does_not_end_holds_nobody_up() -> None:
    """KernelSilent at the deadline, and the loop's own end does not wait for it either."""
    release = threading.Event()

    async def main() -> None:
        def stuck() -> None:
            release.wait(30)

        with pytest.raises(KernelSilent, match="stuck: not done within"):
            await in_thread(0.05, stuck)

    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 10
    release.set()


def test_a_cancelled_wait_lets_the_thread_finish_first() -> None:
    """Nobody else may write the journal while the thread still does."""
    done = threading.Event()
    go = threading.Event()

    def work() -> None:
        go.wait(30)
        done.set()

    async def main() -> None:
        task = asyncio.create_task(in_thread(30.0, work))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        go.set()
        assert await ended(task, 10.0)
        assert task.cancelled()
        assert done.is_set()

    asyncio.run(main())


def test_a_cancellation_that_comes_with_nfts_end_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task that runs apply() ends as cancelled, at whatever moment it is told so.

    asyncio.wait_for answers such a cancellation with the result (before Python 3.12): the
    provisioner of the ports then waited for its next wake-up, and stop for the provisioner, for
    ever.
    """
    monkeypatch.setattr(transit, "_nft", lambda: ["cat"])

    async def main() -> None:
        task: asyncio.Task[object]
        communicate = asyncio.subprocess.Process.communicate

        async def cancel_at_the_end(process: Any, text: bytes) -> Any:
            result = await communicate(process, text)
            asyncio.get_running_loop().call_soon(task.cancel)
            return result

        monkeypatch.setattr(asyncio.subprocess.Process, "communicate", cancel_at_the_end)

        async def work() -> None:
            await transit.apply("rules")
            await asyncio.Event().wait()

        task = asyncio.create_task(work())
        assert await ended(task, 10.0)
        assert task.cancelled()

    asyncio.run(main())


def test_a_pass_that_does_not_end_is_given_up_at_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """close() returns with a problem that says so; a pass that keeps its time has none."""

    async def main() -> None:
        journal = Journal.open(tmp_path / "undo.json", "t")
        parts = LinkTable(), journal, Sysctls(journal, silent), silent
        provisioner = Provisioner("t", *parts)
        monkeypatch.setattr(provisioner, "_pass", never)
        provisioner.run()
        provisioner.look()
        await asyncio.sleep(0)
        start = time.monotonic()
        assert await provisioner.close() == ["ports: a repair was given up after 1 s"]
        assert time.monotonic() - start < 10

        quick = Provisioner("t", *parts)
        passed = []

        async def pass_once() -> list[str]:
            await asyncio.sleep(0.05)
            passed.append(True)
            return []

        monkeypatch.setattr(quick, "_pass", pass_once)
        quick.run()
        quick.look()
        await asyncio.sleep(0.01)
        assert await quick.close() == []
        assert passed == [True]

    asyncio.run(main())
