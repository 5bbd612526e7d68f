"""Every test is of both clients: of threads, and of asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from weir_client import AsyncAsking, AsyncLimit, AsyncRemote, Remote

from .played import Played, Plays


class Awaits:
    """An asynchronous client asked as the other one is: whatever is to be awaited is."""

    def __init__(self, inner: object, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        return self._call(member) if callable(member) else member

    def _call(self, member: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            told = member(*[_inner(one) for one in given], **named)
            if inspect.iscoroutine(told):
                return self._loop.run_until_complete(told)
            return Awaits(told, self._loop) if isinstance(told, (AsyncLimit, AsyncAsking)) else told

        return call


def _inner(given: Any) -> Any:
    if isinstance(given, list):
        return [_inner(one) for one in given]
    return given._inner if isinstance(given, Awaits) else given


@pytest.fixture(params=["threads", "asyncio"])
def remote(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients, which are closed after the test."""
    loop = asyncio.new_event_loop()
    made: list[Any] = []
    try:

        def make(urls: str | list[str], **options: Any) -> Any:
            if request.param == "threads":
                made.append(Remote(urls, **options))
            else:
                made.append(Awaits(AsyncRemote(urls, **options), loop))
            return made[-1]

        yield make
    finally:
        for one in made:
            one.close()
        loop.close()


@pytest.fixture
def played() -> Iterator[Callable[[Plays], Played]]:
    """Starts played nodes, which end with the test."""
    started: list[Played] = []

    def start(plays: Plays) -> Played:
        started.append(Played(plays))
        return started[-1]

    yield start
    for one in started:
        one.stop()
