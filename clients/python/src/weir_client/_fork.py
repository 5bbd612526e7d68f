"""What a process that is forked must not share with the one it comes from: names of hits, connections, locks.

Servers such as gunicorn load a program once and fork it then. Two processes that gave their hits the same names would be
counted as one.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from weakref import WeakSet


class StartsAnew(ABC):
    """Something that starts anew in a process that was forked."""

    def __init__(self) -> None:
        self._start()
        _started.add(self)

    @abstractmethod
    def _start(self) -> None:
        """Makes everything that is not to be shared. Of what was there before nothing is to be waited for."""


_started: WeakSet[StartsAnew] = WeakSet()


def _start_all() -> None:
    for one in list(_started):
        one._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all)
