"""Deadlines for every wait on the kernel: a netlink answer, a thread, the end of a task.

    async with Netlink() as netlink:
        await netlink.link("set", index=7, mtu=1400)     # KernelSilent after ANSWER_TIMEOUT
    problems = await in_thread(UNDO_TIMEOUT, undo, path)  # KernelSilent when it takes longer
    await ended(task, 1.0)                                # False: it goes on

The kernel answers a request in microseconds, under a lock that others may hold; the answer is
lost when the socket has no room, and pyroute2 then waits for ever. Whoever is told KernelSilent
gives the whole pass up, so a pass waits for at most one such deadline.

asyncio.wait_for is not used in control: until Python 3.12 it can swallow a cancellation that
comes together with the result, and the task then runs on.

Control's event loop alone. Not promised: an end to a system call that blocks in the kernel.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from ribcage.shared._core import lib

P = ParamSpec("P")
R = TypeVar("R")

ANSWER_TIMEOUT: Final = 2.0


class KernelSilent(Exception):
    """The kernel did not answer in time; the text names the request and the deadline."""


def words(error: NetlinkError) -> str:
    """What the kernel said against a request."""
    return os.strerror(error.code)


class Netlink:
    """pyroute2's requests, each with a deadline. A context manager, for one pass."""

    def __init__(self, timeout: float = ANSWER_TIMEOUT) -> None:
        self._route = AsyncIPRoute()
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._route.close()

    async def link(self, verb: str, **fields: Any) -> Any:
        """`ip link VERB`. NetlinkError: refused; KernelSilent: no answer."""
        return await self._ask(f"link {verb}", fields, self._route.link(verb, **fields))

    async def addr(self, verb: str, **fields: Any) -> Any:
        """`ip address VERB`; errors as `link`."""
        return await self._ask(f"address {verb}", fields, self._route.addr(verb, **fields))

    async def route(self, verb: str, **fields: Any) -> Any:
        """`ip route VERB`; errors as `link`."""
        return await self._ask(f"route {verb}", fields, self._route.route(verb, **fields))

    async def _ask(self, what: str, fields: dict[str, Any], answer: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            about = next((f" {fields[name]}" for name in ("ifname", "index") if name in fields), "")
            raise KernelSilent(
                f"netlink: no answer to `{what}{about}` within {self._timeout:g} s"
            ) from None


async def in_thread(
    timeout: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """`function(*args)` in a thread of its own; KernelSilent when it takes longer.

    Unlike asyncio.to_thread it never holds up the end of the loop or of the process. When the
    caller is cancelled, the thread is waited for all the same: two may not write one journal.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def finish(result: R | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(finish, result, error)

    # Inherited by the thread: a signal must not end the process while control writes a batch,
    # which blocks them for its own thread alone (fib/segment/guard.py).
    mask = lib.sys_block_signals()
    try:
        threading.Thread(target=run, name=function.__name__, daemon=True).start()
    finally:
        lib.sys_restore_signals(mask)
    waited = asyncio.ensure_future(asyncio.wait([future], timeout=timeout))
    try:
        await asyncio.shield(waited)
    except asyncio.CancelledError:
        await waited
        if not future.cancel() and not future.cancelled():
            future.exception()  # looked at: asyncio would log it as never retrieved
        raise
    if not future.done():
        raise KernelSilent(f"{function.__name__.strip('_')}: not done within {timeout:g} s")
    return future.result()


async def ended(task: "asyncio.Task[Any]", timeout: float) -> bool:
    """Waits for a task's end, whatever it was; True when it has ended."""
    done, _ = await asyncio.wait([task], timeout=timeout)
    if done and not task.cancelled():
        task.exception()  # looked at: asyncio would log it as never retrieved
    return bool(done)
