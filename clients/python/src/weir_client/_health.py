"""Which nodes are asked first: those that have not just failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

EJECTED_FIRST = 0.25
"""How long a node is passed over after its first failure in a row. Each further one doubles it."""

EJECTED_MAX = 10.0
"""The longest. Then one question in ten seconds finds out whether the node is back."""


class Health:
    """What is believed of one node."""

    def __init__(self) -> None:
        self._failures = 0
        self._ejected_until = -math.inf

    def on_answer(self) -> None:
        """It answered."""
        self._failures = 0
        self._ejected_until = -math.inf

    def on_failure(self, now: float) -> None:
        """It could not be reached, was silent, or said something that no node says."""
        # Beyond ten doublings the longest has been reached.
        self._ejected_until = now + min(EJECTED_FIRST * 2 ** min(self._failures, 10), EJECTED_MAX)
        self._failures += 1

    def is_ejected(self, now: float) -> bool:
        """Whether others are to be asked first."""
        return now < self._ejected_until


class Node:
    """Where a node is, and what is believed of it."""

    def __init__(self, url: str, host: str, port: int, is_tls: bool) -> None:
        self.url = url
        self.host = host
        self.port = port
        self.is_tls = is_tls
        self.health = Health()


N = TypeVar("N", bound=Node)


def order(nodes: Sequence[N], first: int, now: float) -> list[N]:
    """The order in which `nodes` are asked: in turn from `first`, those that are ejected last."""
    start = first % len(nodes)
    in_turn = [*nodes[start:], *nodes[:start]]
    # All of them: when all are ejected, one may have come back. False comes before true, and equals keep their order.
    ejected = {node.url: node.health.is_ejected(now) for node in in_turn}
    return sorted(in_turn, key=lambda node: ejected[node.url])
