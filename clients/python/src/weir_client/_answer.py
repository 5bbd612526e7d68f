"""What a program is told of one hit. All spans are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Union


@dataclass(frozen=True)
class Answer:
    """The state of a key after a question, and whether the hit passed."""

    allowed: bool
    """Whether it passed and was counted; of a peek, whether a hit of 1 would pass."""
    limit: int
    """Units for each period."""
    per: float | None
    """The period. `None`: the node does not say."""
    burst: int | None
    """The most units that pass at once, where that is not `limit`."""
    remaining: int
    """Units left."""
    grows_after: float
    """How long until `remaining` grows. 0: it is all there is."""
    reset_after: float
    """How long until the key is full again. 0: it is."""
    retry_after: float | None
    """How long to wait until this hit passes, unless others are admitted first. `None`: it passed."""
    by_fail_mode: bool
    """Nobody could decide, and the limit's fail mode answered."""

    def outcome(self) -> Outcome:
        """The answer as one of two."""
        if self.allowed:
            return Pass(self.limit, self.remaining, self.reset_after, self.by_fail_mode)
        # A peek is told no wait: then it is that until there is more.
        retry_after = self.grows_after if self.retry_after is None else self.retry_after
        return Limited(self.limit, self.remaining, retry_after, self.reset_after)

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True)
class Pass:
    """A hit that passed, and is true. It was counted, unless it was a peek."""

    limit: int
    """Units for each period."""
    remaining: int
    """Units left."""
    reset_after: float
    """How long until the key is full again."""
    by_fail_mode: bool
    """Nobody could decide, and the limit fails open. Then nothing was counted."""
    allowed: Literal[True] = field(default=True, init=False)

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True)
class Limited:
    """A hit that did not pass, and is false. It was not counted."""

    limit: int
    """Units for each period."""
    remaining: int
    """Units left: fewer than the hit costs."""
    retry_after: float
    """The same hit passes after so long, unless others are admitted first."""
    reset_after: float
    """How long until the key is full again."""
    allowed: Literal[False] = field(default=False, init=False)

    def __bool__(self) -> Literal[False]:
        return False


Outcome = Union[Pass, Limited]
"""A hit that passed, or one that was limited. Neither is an error."""
