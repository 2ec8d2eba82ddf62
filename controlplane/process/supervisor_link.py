"""Control's end of the channel to the supervisor, in asyncio: send, ask, receive, reconnect.

    link = SupervisorLink(channel, on_message, log)
    link.say({"type": "ready", ...});  answer = await link.ask({"type": "ps-request"})

When the supervisor is gone, control goes on; a successor is looked for every 50 ms until
`orphan_timeout`, then `on_orphaned` is called. Messages of the supervisor are checked by those who
take them; one that breaks the channel's rules is counted and skipped. Control only.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from ribcage.shared.build import VERSION
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.process.channel import Channel
from ribcage.shared.process.message import ChannelClosed, ChannelError, Message
from ribcage.shared.process.names import Names
from ribcage.shared.process.reconnect import Reconnector
from ribcage.shared.protocol import HELLO, Speaks, agree, ours

PER_TURN = 64
ASK_TIMEOUT = 2.0


class SupervisorLink:
    """See the module's text. `on_message(message)` owns the message's descriptors."""

    def __init__(
        self,
        channel: Channel,
        on_message: Callable[[Message], None],
        on_closed: Callable[[], None],
        log: Callable[..., None],
    ) -> None:
        self.log = log
        self.connected = True
        self.counters = {"refused": 0, "unsent": 0, "lost": 0}
        self._channel = channel
        self._on_message = on_message
        self._on_closed = on_closed
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 1
        self._writing = False
        self._task: asyncio.Task[None] | None = None
        self._found: Reconnector | None = None  # of a channel on which nothing came yet
        asyncio.get_running_loop().add_reader(channel.fileno(), self._read)

    # -- sending

    def say(self, message: dict[str, Any], fds: dict[str, int] | None = None) -> None:
        """Sends now, or when there is room; dropped and counted while nobody is there."""
        if not self.connected:
            self.counters["unsent"] += 1
            return
        try:
            self._channel.post(message, fds)
        except ChannelClosed:
            return  # the reading side sees it too, and acts
        except ChannelError as error:
            self.counters["unsent"] += 1
            self.log("error", "channel.say", type=message.get("type"), why=str(error)[:200])
            return
        self._flush()

    async def ask(self, message: dict[str, Any], limit: float = ASK_TIMEOUT) -> dict[str, Any]:
        """Sends with an id and waits for the answer, `limit` seconds. E_SUPERVISOR (exit 6) when
        none comes."""
        if not self.connected:
            raise gone()
        number = self._next
        self._next += 1
        future = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        self.say({**message, "id": number})
        try:
            async with asyncio.timeout(limit):
                answer: dict[str, Any] = await future
                return answer
        except TimeoutError:
            raise RibcageError(
                "E_SUPERVISOR",
                f"the supervisor did not answer {message.get('type')} within {limit:g} s",
                None,
                Exit.TIMEOUT,
            ) from None
        finally:
            self._answers.pop(number, None)

    def welcomed(self, message: Message) -> None:
        """A supervisor of another build: what both speak from now on. E_BUILDS."""
        theirs = Speaks.of(message.body)
        self._channel.version = agree(ours(), theirs)
        self.log("info", "supervisor.build", build=theirs.build)

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            done = self._channel.flush()
        except ChannelError:
            done = True
        if not done and not self._writing:
            self._writing = True
            loop.add_writer(self._channel.fileno(), self._flush)
        elif done and self._writing:
            self._writing = False
            loop.remove_writer(self._channel.fileno())

    # -- receiving

    def _read(self) -> None:
        for _ in range(PER_TURN):
            if not self.connected:
                return
            try:
                message = self._channel.recv()
            except ChannelClosed:
                self._lost()
                return
            except ChannelError as error:
                self.counters["refused"] += 1
                self.log("warning", "channel.refused", why=str(error)[:200])
                continue
            if message is None:
                return
            self._found = None
            self._take(message)

    def _take(self, message: Message) -> None:
        number = message.body.get("id")
        future = self._answers.get(number) if isinstance(number, int) else None
        if message.type in ("ps", "done") and future is not None:
            if not future.done():
                future.set_result(message.body)
            message.close()
            return
        try:
            self._on_message(message)
        except Exception as error:
            self.counters["refused"] += 1
            self.log("error", "channel.message", type=message.type, exc_info=error)
        finally:
            message.close()

    # -- losing and finding

    def _lost(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._channel.fileno())
        if self._writing:
            self._writing = False
            loop.remove_writer(self._channel.fileno())
        self._channel.close()
        self.connected = False
        self.counters["lost"] += 1
        for future in self._answers.values():  # its successor was not asked: nobody will answer
            if not future.done():
                future.set_exception(gone())
        self._on_closed()

    def find(
        self,
        names: Names,
        orphan_timeout: float,
        hello: Callable[[], tuple[dict[str, Any], dict[str, int]]],
        on_orphaned: Callable[[], None],
    ) -> None:
        """Looks for a successor; says `hello` to it."""
        search, self._found = self._found, None
        if search is None:
            search = Reconnector(names.supervisor_socket, orphan_timeout)
        else:
            search.refused()
        self._task = asyncio.get_running_loop().create_task(self._find(search, hello, on_orphaned))

    async def _find(
        self,
        search: Reconnector,
        hello: Callable[[], tuple[dict[str, Any], dict[str, int]]],
        on_orphaned: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            channel = search.attempt()
            if channel is not None:
                self._channel, self.connected, self._found = channel, True, search
                loop.add_reader(channel.fileno(), self._read)
                body, fds = hello()
                self.say(body, fds)
                self.log("info", "supervisor.found")
                return
            if search.expired:
                on_orphaned()
                return
            await asyncio.sleep(max(0.001, search.deadline() - loop.time()))

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self.connected:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._channel.fileno())
            if self._writing:
                loop.remove_writer(self._channel.fileno())
            self._channel.close()
            self.connected = False


def gone() -> RibcageError:
    return RibcageError(
        "E_SUPERVISOR",
        "the supervisor is gone; forwarding and updates go on",
        "start it again: it adopts the running processes",
        Exit.TIMEOUT,
    )


def hello(role: str, instance: str, again: bool) -> dict[str, Any]:
    """Who we are."""
    return {
        "type": HELLO,
        "role": role,
        "index": 0,
        "pid": os.getpid(),
        "instance": instance,
        "version": VERSION,
        "protocol": ours().to_json(),
        "again": again,
    }
