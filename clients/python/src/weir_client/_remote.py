"""Nodes elsewhere, asked over HTTP by threads."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Sequence
from threading import Lock
from types import TracebackType
from typing import TypeVar

from . import _questions as questions
from ._answer import Answer, Outcome
from ._errors import WeirError
from ._fork import StartsAnew
from ._health import Node
from ._http import CONNECT, IDLE, IDLE_MAX, Broken, Reading, Response, request
from ._key import Key, joined
from ._nodes import DEADLINE, Nodes, Pause, Send
from ._questions import Target
from ._rule import Defined, Definition, Rule, Span
from ._wire import Lost, Question, Told, read

T = TypeVar("T")


class Remote:
    """Nodes elsewhere, asked over HTTP: any of them decides for any key. Make one and share it, also between threads.

    A question goes to one node, each in its turn. What surely was not counted is asked of the next at once, and a node
    that fails is passed over for a while. What may have been counted, since its answer was lost on the way, is asked
    again for up to 4 s, too: each hit has a name, by which the nodes know that they have counted it. Only where hits can
    have no names, in a batch and where the limit's strategy is not `owner`, a lost answer is the end, and the error says
    that it is unknown whether the hit was counted.

    Whatever is no decision raises a `WeirError`.
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
        """Asks the nodes at these addresses, such as `http://10.0.0.1:4000`. Nobody is asked yet.

        `api_key`: of a tenant; `api_token`: the nodes', or an operator's; one of the two at most. `deadline`: how many
        seconds a question may take altogether; within 2 s another node takes over the keys of one that is gone.
        `ssl_context`: for addresses of https, that of the system if `None`.
        """
        self._nodes = Nodes(urls, api_key, api_token, deadline)
        self._pool = _Pool(ssl_context)

    def limit(self, name: str) -> Limit:
        """The limit called `name`, ready to be asked. No node is asked whether there is one."""
        return Limit(self, name)

    def limit_of(self, rule: Rule) -> Limit:
        """A limit that is given here, ready to be asked."""
        return Limit(self, rule)

    def allow(self, key: Key, per: Span) -> Outcome:
        """One hit in every `per` passes: a sliding log of one."""
        return self.limit_of(Rule("sliding_log", 1, per)).key(key).check()

    def check_rate(self, key: Key, scale: Span, limit: int, increment: int = 1) -> Outcome:
        """Up to `limit` units pass in every window of `scale`, of which this hit costs `increment`.

        The windows begin at the epoch.
        """
        return self.limit_of(Rule("fixed_window", limit, scale)).key(key).cost(increment).check()

    def check_all(self, asked: Sequence[Asking]) -> list[Outcome | WeirError]:
        """Asks up to 1 000 at once, each for itself: `weir.check_all([login.key("u1"), api.key("u1").cost(3)])`.

        What became of each comes in the order of the questions; one that has no decision has the error in its place.
        """
        results = self._ask(questions.check_all([one._json() for one in asked]))
        return [result if isinstance(result, WeirError) else result.outcome() for result in results]

    def limits(self) -> list[Definition]:
        """All limits that the nodes know."""
        limits, after = self._ask(questions.limits(None))
        while after is not None:
            page, after = self._ask(questions.limits(after))
            limits += page
        return limits

    def close(self) -> None:
        """Closes the connections that wait for questions."""
        self._pool.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Question[T]) -> T:
        asking = self._nodes.ask(question, time.monotonic)
        told: Told[T] | None = None
        try:
            while True:
                effect = asking.send(told)
                told = None
                if isinstance(effect, Pause):
                    time.sleep(effect.seconds)
                else:
                    told = self._exchange(question, effect)
        except StopIteration as answered:
            answer: T = answered.value
            return answer

    def _exchange(self, question: Question[T], send: Send) -> Told[T]:
        until = time.monotonic() + send.patience
        url = send.node.url
        try:
            connection = self._pool.take(send.node, send.patience)
        except OSError as error:
            return Lost(f"{url}: {error}", "no")
        try:
            response = _converse(connection, request(question, send, self._nodes.bearer), until)
        except (OSError, Broken) as error:
            connection.close()
            is_late = isinstance(error, TimeoutError)
            why = f"{url} did not answer within {send.patience:.3f} s" if is_late else f"{url}: {error}"
            return Lost(why, "unknown")
        except BaseException:
            # Whoever interrupts leaves an answer in it, which is nobody else's.
            connection.close()
            raise
        if response.stays_open:
            self._pool.give_back(send.node, connection)
        else:
            connection.close()
        return read(question, response.status, response.fields, response.body)


class Limit:
    """One limit, ready to be asked.

    login = weir.limit("login")
    if login.key("u1").cost(3).check():
        # It was not needed after all.
        login.key("u1").cost(3).refund()
    """

    def __init__(self, remote: Remote, target: Target) -> None:
        self._remote = remote
        self._target = target

    @property
    def name(self) -> str:
        """What clients see it called."""
        return questions.name_of(self._target)

    def key(self, key: Key) -> Asking:
        """A question about `key`, of a hit that costs 1."""
        return Asking(self._remote, self._target, joined(key), 1)

    def describe(self) -> Definition:
        """The limit as the nodes know it."""
        return self._remote._ask(questions.describe(self._target))

    def define(self, given: Rule) -> Defined:
        """Makes the limit, or changes it, on every node. Its counts stay. One that a file defines is not changed."""
        return self._remote._ask(questions.define(self._target, given))

    def remove(self) -> tuple[str, ...]:
        """Removes a limit that was made while nodes run. Told are the live nodes that have not confirmed it yet."""
        return self._remote._ask(questions.remove(self._target))


class Asking:
    """A question that is about to be asked."""

    def __init__(self, remote: Remote, target: Target, key: str, cost: int) -> None:
        self._remote = remote
        self._target = target
        self._key = key
        self._cost = cost

    def cost(self, units: int) -> Asking:
        """The same for a hit of so many units."""
        return Asking(self._remote, self._target, self._key, units)

    def check(self) -> Outcome:
        """Decides the hit, and counts it if it passes. Being limited is no error."""
        return self._remote._ask(questions.check(self._target, self._key, self._cost)).outcome()

    def peek(self) -> Answer:
        """Tells the state of the key, and counts nothing."""
        return self._remote._ask(questions.check(self._target, self._key, 0))

    def refund(self) -> Answer:
        """Gives the units back, never below empty, and tells the state after."""
        return self._remote._ask(questions.refund(self._target, self._key, self._cost))

    def reset(self) -> None:
        """Makes the key full."""
        self._remote._ask(questions.reset(self._target, self._key))

    def _json(self) -> dict[str, object]:
        return questions.hit_json(self._target, self._key, self._cost)


class _Pool(StartsAnew):
    """Connections that wait for questions. The one that waited least is taken first."""

    def __init__(self, ssl_context: ssl.SSLContext | None) -> None:
        self._idle: dict[str, list[tuple[float, socket.socket]]] = {}
        self._ssl = ssl_context
        super().__init__()

    def _start(self) -> None:
        self._lock = Lock()
        # In a forked process these are copies: the connections themselves stay open for the one they belong to.
        self.close()

    def take(self, node: Node, patience: float) -> socket.socket:
        """A connection to `node`, which is opened if none waits. Raises `OSError` if it cannot be."""
        while True:
            with self._lock:
                idle = self._idle.get(node.url)
                since, connection = idle.pop() if idle else (0.0, None)
            if connection is None:
                return self._connect(node, patience)
            # What can be read before a question is that the node has closed it.
            if time.monotonic() < since + IDLE and not _is_readable(connection):
                return connection
            connection.close()

    def give_back(self, node: Node, connection: socket.socket) -> None:
        """It waits for the next question."""
        with self._lock:
            idle = self._idle.setdefault(node.url, [])
            idle.append((time.monotonic(), connection))
            # The first have waited longest.
            surplus = idle.pop(0)[1] if IDLE_MAX < len(idle) else None
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for _, connection in connections:
                connection.close()

    def _connect(self, node: Node, patience: float) -> socket.socket:
        connection = socket.create_connection((node.host, node.port), min(patience, CONNECT))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not node.is_tls:
                return connection
            context = self._ssl or ssl.create_default_context()
            return context.wrap_socket(connection, server_hostname=node.host)
        except BaseException:
            connection.close()
            raise


def _is_readable(connection: socket.socket) -> bool:
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([connection], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def _converse(connection: socket.socket, asked: bytes, until: float) -> Response:
    reading = Reading()
    connection.settimeout(_left(until))
    connection.sendall(asked)
    while True:
        connection.settimeout(_left(until))
        response = reading.feed(connection.recv(64 * 1024))
        if response is not None:
            return response


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
