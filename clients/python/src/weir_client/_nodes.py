"""Asking one node after the other, without a socket: whoever drives it sends and sleeps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar, Union
from urllib.parse import urlsplit

from ._errors import NoDecisionError, WeirError
from ._fork import StartsAnew
from ._health import Node, order
from ._names import Names
from ._wire import Answered, Elsewhere, Lost, Named, Nameless, Question, Refused, Strange, Told, Unknown, silent

PATIENCE = 1.5
"""How long one node may take to answer what may be asked of another as well."""

PATIENCE_NAMED = 2.5
"""The same for a hit that has a name. Longer than the 2 s within which another node takes over a silent one's keys: the
node that was asked first has the answer then."""

REPEATED_FOR = 4.0
"""How long a hit that may have been counted is asked again under its name. Nodes remember it for 8 s, and one that was
asked at the last moment may take 3.5 s to have it decided."""

PAUSE_FIRST = 0.025
"""The pause before all nodes are asked again, when none could be reached. Each further one is twice as long."""

PAUSE_MAX = 0.4

DEADLINE = 5.0
"""How long a question may take altogether. Longer than the 2 s within which another node takes over a silent one's keys,
so that an answer given then still arrives."""

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Ask this node, and tell what came of it."""

    node: Node
    name: str | None
    patience: float


@dataclass(frozen=True)
class Pause:
    """Sleep, and tell `None`."""

    seconds: float


Effect = Union[Send, Pause]


class Nodes(StartsAnew):
    """The nodes that are asked: whose turn it is, and who has failed. Threads share it."""

    def __init__(self, urls: str | Sequence[str], api_key: str | None, api_token: str | None, deadline: float) -> None:
        self.nodes = [_node(url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self.nodes:
            raise ValueError("no node is named; accepted: one or more of http://HOST:PORT")
        if not 0 < deadline:
            raise ValueError(f"a deadline of {deadline} s; accepted: more than 0")
        self.bearer = _bearer(api_key, api_token)
        self._deadline = deadline
        self._names = Names()
        super().__init__()

    def _start(self) -> None:
        self._lock = Lock()
        self._turn = 0

    def _order(self, now: float) -> list[Node]:
        with self._lock:
            turn = self._turn
            self._turn += 1
        return order(self.nodes, turn, now)

    def ask(self, question: Question[T], now: Callable[[], float]) -> Generator[Effect, Told[T] | None, T]:
        """Asks one node after the other until one answers or the deadline has passed.

        Nobody is asked who has no time to answer. Raises `WeirError` for whatever is no answer.
        """
        started = now()
        deadline = started + self._deadline
        limit = question.again.limit if isinstance(question.again, Named) else ""
        name = self._names.next(limit) if limit else None
        pause = PAUSE_FIRST
        last: WeirError | None = None
        # Whether some node may have counted it: whatever others say, it is unknown then.
        is_unknown = False
        while True:
            again = False
            for node in self._order(now()):
                left = deadline - now()
                if left <= 0:
                    break
                told = yield from _send(node, name, _patience(question, name, left), now)
                if isinstance(told, Nameless) and name is not None:
                    name = None
                    self._names.on_nameless(limit)
                    if is_unknown:
                        # Under its name another node may have counted it.
                        raise silent(f"{node.url} takes no names of hits on this limit", "unknown")
                    told = yield from _send(node, name, deadline - now(), now)
                match told:
                    case Answered():
                        answer: T = told.answer
                        return answer
                    case Refused(error) | Nameless(error):
                        raise _as_known(error, is_unknown)
                    case Elsewhere(error, wait):
                        again = again or wait or is_unknown
                        last = error
                        continue
                    case Lost(why, "no"):
                        again = True
                        last = silent(why, "no")
                        continue
                    case Lost(why, _):
                        unknown: WeirError = silent(why, "unknown")
                    case Strange():
                        unknown = silent(f"{node.url} said something that no node says", "unknown")
                    case Unknown(error):
                        unknown = error
                if question.again != "as-is" and name is None:
                    raise unknown
                again = True
                if question.again != "as-is":
                    is_unknown = True
                    deadline = min(deadline, started + REPEATED_FOR)
                last = unknown
            if not again or deadline < now() + pause:
                raise _as_known(last or silent(f"{self._deadline} s are no time to ask", "no"), is_unknown)
            yield Pause(pause)
            pause = min(pause * 2, PAUSE_MAX)


def _send(
    node: Node, name: str | None, patience: float, now: Callable[[], float]
) -> Generator[Effect, Told[Any] | None, Told[Any]]:
    # A moment at least: no timeout can be less than nothing.
    told = yield Send(node, name, max(patience, 0.001))
    assert told is not None, "whoever drives tells what came of a question"
    if isinstance(told, (Lost, Strange)):
        node.health.on_failure(now())
    else:
        node.health.on_answer()
    return told


def _patience(question: Question[Any], name: str | None, left: float) -> float:
    if question.again == "as-is":
        return min(left, PATIENCE)
    return left if name is None else min(left, PATIENCE_NAMED)


def _as_known(error: WeirError, is_unknown: bool) -> WeirError:
    """What to tell of a hit of which `error` was said last. `is_unknown`: an earlier attempt may have been counted."""
    if isinstance(error, NoDecisionError):
        error.counted = "unknown" if is_unknown else "no"
        return error
    return silent(str(error), "unknown") if is_unknown else error


def _node(given: str) -> Node:
    url = given.rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_plain = parts.scheme in ("http", "https") and "@" not in parts.netloc
    is_plain = is_plain and not (parts.path or parts.query or parts.fragment)
    host = parts.hostname
    if not is_plain or not host or not host.isascii() or any(char <= " " for char in url):
        # Not told whole: it may have a password.
        told = given.rsplit("@", 1)[-1]
        raise ValueError(f"{told!r} is no address of a node; accepted: http://HOST:PORT")
    is_tls = parts.scheme == "https"
    return Node(url, host, port if port is not None else 443 if is_tls else 80, is_tls)


def _bearer(api_key: str | None, api_token: str | None) -> str | None:
    if api_key is not None and api_token is not None:
        raise ValueError("give either api_key or api_token")
    token = api_key if api_key is not None else api_token
    if token is None:
        return None
    token = token.strip()
    # Never told: it is a secret.
    if not token or not all("!" <= char <= "~" for char in token):
        raise ValueError("the token is empty, or holds what no header can; accepted: printable ASCII")
    return f"Bearer {token}"
