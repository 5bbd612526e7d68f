"""What hits are called, so that each counts once however often it is asked."""

from __future__ import annotations

import secrets
from threading import Lock

from ._fork import StartsAnew

NAMELESS_MAX = 1_024
"""Most limits of which it is noted that their hits can have no names. Of more, each hit is asked twice."""


class Names(StartsAnew):
    """Names hits: a number that nobody else has, and a count. Threads share it."""

    def _start(self) -> None:
        self._origin = secrets.token_hex(16)
        self._lock = Lock()
        self._next = 0
        self._nameless: set[str] = set()

    def next(self, limit: str) -> str | None:
        """The name of another hit on `limit`. `None`: its hits can have none."""
        with self._lock:
            if limit in self._nameless:
                return None
            number = self._next
            self._next += 1
        return f"{self._origin}-{number:x}"

    def on_nameless(self, limit: str) -> None:
        """A node has said that hits on `limit` can have no names."""
        with self._lock:
            if len(self._nameless) < NAMELESS_MAX:
                self._nameless.add(limit)
