"""Why a program was given no decision. Being limited is none of these: it is a value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

Counted = Literal["no", "unknown"]
"""What became of a hit that has no decision. `"unknown"`: it may or may not have been counted."""


class WeirError(Exception):
    """Why there is no decision. Each kind is a class of its own."""

    counted: Counted
    """What became of the hit."""
    retry_after: float | None
    """When another attempt is worth making. `None`: never, as it is."""
    problem: Mapping[str, Any] | None
    """What the node said (RFC 9457), if one did: `type` is `/problems/` and a name."""

    def __init__(
        self,
        message: str,
        *,
        problem: Mapping[str, Any] | None = None,
        counted: Counted = "no",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = problem
        self.counted = counted
        self.retry_after = retry_after


class UnknownLimitError(WeirError):
    """Not counted: no limit has this name."""


class InvalidError(WeirError):
    """Not counted: what was asked makes no sense. `problem` says which field, and what would do."""


class NeverConformsError(WeirError):
    """Not counted: the cost is above the burst, and no wait helps."""


class NoDecisionError(WeirError):
    """Nobody decided, and the limit fails closed. `counted` says what became of the hit."""

    retry_after: float


class UnauthorizedError(WeirError):
    """Not counted: the node wants another API key or token, or one that may do this."""


class QuotaExceededError(WeirError):
    """Not counted: the requests of the day that the tenant's plan has are used up. No limit has denied this."""

    retry_after: float

    @property
    def limit(self) -> int | None:
        """Requests that the day has. `None`: the node does not say."""
        return self._number("limit")

    @property
    def used(self) -> int | None:
        """Requests that are used."""
        return self._number("used")

    @property
    def resets_at(self) -> datetime | None:
        """When the next day begins."""
        at = (self.problem or {}).get("resets_at")
        # Before 3.11 no `Z` is read.
        return datetime.fromisoformat(at.replace("Z", "+00:00")) if isinstance(at, str) else None

    def _number(self, member: str) -> int | None:
        number = (self.problem or {}).get(member)
        return number if isinstance(number, int) else None


class RefusedError(WeirError):
    """Not counted: refused for another reason, which `problem["type"]` names."""
