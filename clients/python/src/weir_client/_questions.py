"""What can be asked of the nodes, as requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union
from urllib.parse import quote

from ._answer import Answer
from ._errors import WeirError
from ._rule import Defined, Definition, Rule, definition, to_json
from ._wire import Again, Fields, Named, Question, batch, decision

Target = Union[str, Rule]
"""A limit that the nodes know, or one that goes with each question."""

PAGE = 1_000
"""Limits of a page: as many as a node gives."""


def name_of(target: Target) -> str:
    """What clients see it called."""
    return target if isinstance(target, str) else "rule"


def hit_json(target: Target, key: str, cost: int) -> dict[str, Any]:
    """One hit as a body."""
    which: dict[str, Any] = {"limit": target} if isinstance(target, str) else {"rule": to_json(target)}
    return {**which, "key": key, "cost": cost}


def check(target: Target, key: str, cost: int) -> Question[Answer]:
    """Decides a hit, and counts it if it passes. A cost of 0 peeks."""
    again: Again = Named(name_of(target)) if cost != 0 else "as-is"
    return Question("POST", "/v1/check", hit_json(target, key, cost), again, decision)


def refund(target: Target, key: str, cost: int) -> Question[Answer]:
    """Gives units back."""
    return Question("POST", "/v1/refund", hit_json(target, key, cost), Named(name_of(target)), decision)


def reset(target: Target, key: str) -> Question[bool]:
    """Makes a key full."""
    if not isinstance(target, str):
        raise TypeError("a rule's counters cannot be reset over HTTP")
    path = f"/v1/keys/{quote(target, safe='')}/{quote(key, safe='')}"
    return Question("DELETE", path, None, "as-is", lambda body, _: True if body is None else None)


def check_all(checks: Sequence[dict[str, Any]]) -> Question[list[Answer | WeirError]]:
    """Decides hits, each for itself."""

    def results(body: Any, _: Fields) -> list[Answer | WeirError] | None:
        told = batch(body)
        return told if told is not None and len(told) == len(checks) else None

    # A batch takes no names.
    is_peek = all(check["cost"] == 0 for check in checks)
    return Question("POST", "/v1/check/batch", {"checks": list(checks)}, "as-is" if is_peek else "never", results)


def limits(after: str | None) -> Question[tuple[list[Definition], str | None]]:
    """A page of the limits that the nodes know, and where the next one begins."""

    def page(body: Any, _: Fields) -> tuple[list[Definition], str | None] | None:
        limits = body.get("limits") if isinstance(body, dict) else None
        if not isinstance(limits, list) or not all(_is_named(limit) for limit in limits):
            return None
        return [definition(limit) for limit in limits], body.get("next")

    path = f"/v1/limits?count={PAGE}"
    return Question("GET", path if after is None else f"{path}&after={quote(after, safe='')}", None, "as-is", page)


def describe(target: Target) -> Question[Definition]:
    """The limit as the nodes know it."""
    path = _path(target, "described")
    return Question("GET", path, None, "as-is", lambda body, _: definition(body) if _is_named(body) else None)


def define(target: Target, given: Rule) -> Question[Defined]:
    """Makes a limit, or changes it."""

    def defined(body: Any, fields: Fields) -> Defined | None:
        return Defined(definition(body), _pending(fields)) if _is_named(body) else None

    return Question("PUT", _path(target, "defined"), to_json(given), "as-is", defined)


def remove(target: Target) -> Question[tuple[str, ...]]:
    """Removes a limit that was made while nodes run."""

    def removed(body: Any, fields: Fields) -> tuple[str, ...] | None:
        return _pending(fields) if body is None else None

    # Asked again it may be unknown already.
    return Question("DELETE", _path(target, "removed"), None, "never", removed)


def _path(target: Target, done: str) -> str:
    if not isinstance(target, str):
        raise TypeError(f"a rule cannot be {done}: it has no name")
    return f"/v1/limits/{quote(target, safe='')}"


def _is_named(body: Any) -> bool:
    return isinstance(body, dict) and isinstance(body.get("name"), str)


def _pending(fields: Fields) -> tuple[str, ...]:
    names = fields.get("weir-pending", "").split(",")
    return tuple(name.strip() for name in names if name.strip())
