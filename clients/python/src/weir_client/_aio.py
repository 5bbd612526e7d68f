"""Nodes elsewhere, asked over HTTP by tasks of asyncio."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from . import _questions as questions
from ._answer import Answer, Outcome
from ._errors import WeirError
from ._health import Node
from ._http import CONNECT, IDLE, IDLE_MAX, Broken, Reading, Response, request
from ._key import Key, joined
from ._nodes import DEADLINE, Nodes, Pause, Send
from ._questions import Target
from ._rule import Defined, Definition, Rule, Span
from ._wire import Lost, Question, Told, read

T = TypeVar("T")


class AsyncRemote:
    """`Remote` for asyncio: the same, awaited. Make one for each event loop, and share it.

    A question that is cancelled leaves it unknown whether the hit was counted.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        api_key: str | None = None,
        api_token: str | None = None,
        deadline: float = DEADLINE,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """As of `Remote`."""
        self._nodes = Nodes(urls, api_key, api_token, deadline)
        self._ssl = ssl_context
        self._idle: dict[str, list[_Connection]] = {}

    def limit(self, name: str) -> AsyncLimit:
        """The limit called `name`, ready to be asked. No node is asked whether there is one."""
        return AsyncLimit(self, name)

    def limit_of(self, rule: Rule) -> AsyncLimit:
        """A limit that is given here, ready to be asked."""
        return AsyncLimit(self, rule)

    async def allow(self, key: Key, per: Span) -> Outcome:
        """One hit in every `per` passes: a sliding log of one."""
        return await self.limit_of(Rule("sliding_log", 1, per)).key(key).check()

    async def check_rate(self, key: Key, scale: Span, limit: int, increment: int = 1) -> Outcome:
        """Up to `limit` units pass in every window of `scale`, of which this hit costs `increment`.

        The windows begin at the epoch.
        """
        return await self.limit_of(Rule("fixed_window", limit, scale)).key(key).cost(increment).check()

    async def check_all(self, asked: Sequence[AsyncAsking]) -> list[Outcome | WeirError]:
        """As `Remote.check_all`."""
        results = await self._ask(questions.check_all([one._json() for one in asked]))
        return [result if isinstance(result, WeirError) else result.outcome() for result in results]

    async def limits(self) -> list[Definition]:
        """All limits that the nodes know."""
        limits, after = await self._ask(questions.limits(None))
        while after is not None:
            page, after = await self._ask(questions.limits(after))
            limits += page
        return limits

    async def close(self) -> None:
        """Closes the connections that wait for questions."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    async def __aenter__(self) -> AsyncRemote:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, question: Question[T]) -> T:
        asking = self._nodes.ask(question, time.monotonic)
        told: Told[T] | None = None
        try:
            while True:
                effect = asking.send(told)
                told = None
                if isinstance(effect, Pause):
                    await asyncio.sleep(effect.seconds)
                else:
                    told = await self._exchange(question, effect)
        except StopIteration as answered:
            answer: T = answered.value
            return answer

    async def _exchange(self, question: Question[T], send: Send) -> Told[T]:
        until = time.monotonic() + send.patience
        url = send.node.url
        try:
            connection = await self._take(send.node, send.patience)
        except (OSError, asyncio.TimeoutError) as error:
            return Lost(f"{url}: {error or 'no connection in time'}", "no")
        try:
            conversing = connection.converse(request(question, send, self._nodes.bearer))
            response = await asyncio.wait_for(conversing, until - time.monotonic())
        except asyncio.TimeoutError:
            connection.close()
            return Lost(f"{url} did not answer within {send.patience:.3f} s", "unknown")
        except (OSError, Broken) as error:
            connection.close()
            return Lost(f"{url}: {error}", "unknown")
        except BaseException:
            # Whoever cancels leaves an answer in it, which is nobody else's.
            connection.close()
            raise
        if response.stays_open:
            self._give_back(send.node, connection)
        else:
            connection.close()
        return read(question, response.status, response.fields, response.body)

    async def _take(self, node: Node, patience: float) -> _Connection:
        idle = self._idle.get(node.url, [])
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            connection.close()
        context = (self._ssl or ssl.create_default_context()) if node.is_tls else None
        opening = asyncio.open_connection(node.host, node.port, ssl=context)
        reader, writer = await asyncio.wait_for(opening, min(patience, CONNECT))
        made: socket.socket | None = writer.get_extra_info("socket")
        if made is not None:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Connection(reader, writer, asyncio.get_running_loop(), time.monotonic())

    def _give_back(self, node: Node, connection: _Connection) -> None:
        connection.since = time.monotonic()
        idle = self._idle.setdefault(node.url, [])
        idle.append(connection)
        if IDLE_MAX < len(idle):
            # The first has waited longest.
            idle.pop(0).close()


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    loop: asyncio.AbstractEventLoop
    since: float
    """When it was opened, or began to wait."""

    def is_usable(self) -> bool:
        """Whether it takes a question of this event loop, and nobody has closed it."""
        is_of_this_loop = self.loop is asyncio.get_running_loop()
        is_open = not self.writer.is_closing() and not self.reader.at_eof()
        return is_of_this_loop and is_open and time.monotonic() < self.since + IDLE

    async def converse(self, asked: bytes) -> Response:
        reading = Reading()
        self.writer.write(asked)
        await self.writer.drain()
        while True:
            response = reading.feed(await self.reader.read(64 * 1024))
            if response is not None:
                return response

    def close(self) -> None:
        # One of an event loop that has ended is closed already.
        if not self.loop.is_closed():
            self.writer.close()


class AsyncLimit:
    """One limit, ready to be asked: `if await weir.limit("login").key("u1").check(): …`"""

    def __init__(self, remote: AsyncRemote, target: Target) -> None:
        self._remote = remote
        self._target = target

    @property
    def name(self) -> str:
        """What clients see it called."""
        return questions.name_of(self._target)

    def key(self, key: Key) -> AsyncAsking:
        """A question about `key`, of a hit that costs 1."""
        return AsyncAsking(self._remote, self._target, joined(key), 1)

    async def describe(self) -> Definition:
        """The limit as the nodes know it."""
        return await self._remote._ask(questions.describe(self._target))

    async def define(self, given: Rule) -> Defined:
        """Makes the limit, or changes it, on every node. Its counts stay. One that a file defines is not changed."""
        return await self._remote._ask(questions.define(self._target, given))

    async def remove(self) -> tuple[str, ...]:
        """Removes a limit that was made while nodes run. Told are the live nodes that have not confirmed it yet."""
        return await self._remote._ask(questions.remove(self._target))


class AsyncAsking:
    """A question that is about to be asked."""

    def __init__(self, remote: AsyncRemote, target: Target, key: str, cost: int) -> None:
        self._remote = remote
        self._target = target
        self._key = key
        self._cost = cost

    def cost(self, units: int) -> AsyncAsking:
        """The same for a hit of so many units."""
        return AsyncAsking(self._remote, self._target, self._key, units)

    async def check(self) -> Outcome:
        """Decides the hit, and counts it if it passes. Being limited is no error."""
        return (await self._remote._ask(questions.check(self._target, self._key, self._cost))).outcome()

    async def peek(self) -> Answer:
        """Tells the state of the key, and counts nothing."""
        return await self._remote._ask(questions.check(self._target, self._key, 0))

    async def refund(self) -> Answer:
        """Gives the units back, never below empty, and tells the state after."""
        return await self._remote._ask(questions.refund(self._target, self._key, self._cost))

    async def reset(self) -> None:
        """Makes the key full."""
        await self._remote._ask(questions.reset(self._target, self._key))

    def _json(self) -> dict[str, object]:
        return questions.hit_json(self._target, self._key, self._cost)
