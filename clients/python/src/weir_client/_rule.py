"""Limits as they are given and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Union

Span = Union[str, float, timedelta]
"""A span as the file writes it (`"90s"`: a whole number and `ms`, `s`, `m`, `h` or `d`), or seconds."""

Algorithm = Literal["gcra", "token_bucket", "sliding_log", "sliding_counter", "fixed_window", "leaky_bucket"]

Anchor = Literal["epoch", "first_hit", "day", "week", "month", "year"]
"""Where the windows of `fixed_window` begin. Calendar ones take the place of `per`."""

Strategy = Literal["owner", "local", "redis", "raft"]
"""Who counts."""

OnFailure = Literal["deny", "allow", "owner"]
"""What to answer when no decision can be had."""


@dataclass(frozen=True)
class Rule:
    """A limit that is given where it is asked. The same rule has the same counters on every node."""

    algorithm: Algorithm
    limit: int
    """Units for each period."""
    per: Span | None = None
    """The period: always, but with a calendar's anchor."""
    burst: int | None = None
    """Most units that pass at once: of `gcra`, `token_bucket` and `leaky_bucket`. `limit` if `None`."""
    anchor: Anchor | None = None
    zone: str | None = None
    """Whose calendar the anchor is of, such as `Europe/Vienna`. UTC if `None`."""


@dataclass(frozen=True)
class Definition(Rule):
    """A limit that the nodes know, or are to know. `None` is what a node takes by default."""

    strategy: Strategy | None = None
    """`"owner"` by default."""
    on_failure: OnFailure | None = None
    """`"deny"` by default."""
    keep: bool | None = None
    """Whether counts outlive all nodes. By default from a period of an hour on."""
    name: str | None = None
    """Told, and not to be given: it is the name of the limit that is defined."""


@dataclass(frozen=True)
class Defined:
    """A limit that was made or changed."""

    definition: Definition
    pending: tuple[str, ...]
    """Live nodes that have not confirmed it yet. Empty: it is in force on all."""


def span(given: Span) -> str:
    """As a node reads a span. Numbers are cut to whole milliseconds."""
    if isinstance(given, str):
        return given
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    # Beyond a millionth of a millisecond it is the number's own error: 0.29 * 1000 is 290.
    return f"{int(round(seconds * 1_000, 6))}ms"


def to_json(rule: Rule) -> dict[str, Any]:
    """As a node reads a limit."""
    members = {member: value for member, value in vars(rule).items() if value is not None}
    if rule.per is not None:
        members["per"] = span(rule.per)
    return members


def definition(body: Mapping[str, Any]) -> Definition:
    """As a node tells a limit."""
    known = Definition.__dataclass_fields__
    return Definition(**{member: value for member, value in body.items() if member in known})
