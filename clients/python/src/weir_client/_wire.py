"""Questions and answers as a node's HTTP front has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, Union

from ._answer import Answer
from ._errors import (
    Counted,
    InvalidError,
    NeverConformsError,
    NoDecisionError,
    QuotaExceededError,
    RefusedError,
    UnauthorizedError,
    UnknownLimitError,
    WeirError,
)

HIT_ID = "Weir-Hit-Id"
"""The header by which a hit is named."""

SOON = 1.0
"""When another attempt is worth making, where nobody says."""

SILENT_RETRY = 0.2
"""The same where no node answered."""

T = TypeVar("T")

Fields = Mapping[str, str]
"""The header fields of an answer, by names in small letters."""


@dataclass(frozen=True)
class Named:
    """A hit on this limit has a name, and is asked again under it."""

    limit: str


Again = Union[Literal["as-is", "never"], Named]
"""How a question may be asked again when an answer was lost. `"as-is"`: asking twice is the same as asking once."""


@dataclass(frozen=True)
class Question(Generic[T]):
    """What a node is asked."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    body: Any
    """`None`: it has none."""
    again: Again
    read: Callable[[Any, Fields], T | None]
    """Reads an answer, of which the body is `None` where it has none. `None`: no node says this."""


@dataclass(frozen=True)
class Answered(Generic[T]):
    """This is the answer."""

    answer: T


@dataclass(frozen=True)
class Refused:
    """Not counted, whoever is asked."""

    error: WeirError


@dataclass(frozen=True)
class Elsewhere:
    """Not counted, and another node may know better. `wait`: so may this one, soon."""

    error: WeirError
    wait: bool


@dataclass(frozen=True)
class Unknown:
    """It may have been counted: the node that decides did not answer this one."""

    error: WeirError


@dataclass(frozen=True)
class Nameless:
    """Not counted: the limit's hits can have no names."""

    error: WeirError


@dataclass(frozen=True)
class Strange:
    """Nothing that a node says: it may have been counted."""


@dataclass(frozen=True)
class Lost:
    """An answer that was lost on its way, or never given. `counted` `"no"`: the node was not reached."""

    why: str
    counted: Counted


Told = Union[Answered[T], Refused, Elsewhere, Unknown, Nameless, Strange, Lost]
"""What came of asking one node."""


def read(question: Question[T], status: int, fields: Fields, text: bytes) -> Told[T]:
    """Reads what a node answered."""
    try:
        body = json.loads(text) if text else None
    except ValueError:
        return Strange()
    problem = as_problem(body)
    if problem is not None:
        return _of_problem(problem, fields)
    # A denial is 429, and has a decision as its body.
    answer = question.read(body, fields) if status < 300 or status == 429 else None
    return Strange() if answer is None else Answered(answer)


def as_problem(body: Any) -> Mapping[str, Any] | None:
    """A problem, if it is one."""
    kind = body.get("type") if isinstance(body, dict) else None
    return body if isinstance(kind, str) and kind.startswith("/problems/") else None


def _kind(problem: Mapping[str, Any]) -> str:
    return str(problem["type"]).removeprefix("/problems/")


def _of_problem(problem: Mapping[str, Any], fields: Fields) -> Told[Any]:
    retry_after = fields.get("retry-after", "")
    error = error_of(problem, float(retry_after) if re.fullmatch("[0-9]+", retry_after) else SOON)
    kind = _kind(problem)
    if kind == "invalid-request":
        return Nameless(error) if problem.get("field") == HIT_ID else Refused(error)
    if not isinstance(error, NoDecisionError):
        return Refused(error)
    if error.counted == "unknown":
        return Unknown(error)
    return Elsewhere(error, wait=kind in ("tenant-rate", "draining"))


def error_of(problem: Mapping[str, Any], retry_after: float = SOON) -> WeirError:
    """What a program is told of a problem."""
    why = str(problem.get("detail") or problem.get("title"))
    match _kind(problem):
        case "unknown-limit":
            return UnknownLimitError(why, problem=problem)
        case "invalid-request":
            accepted = problem.get("accepted")
            return InvalidError(f"{why}; accepted: {accepted}" if accepted else why, problem=problem)
        case "never-conforms":
            return NeverConformsError(why, problem=problem)
        case "unauthorized" | "forbidden" | "tenant-suspended":
            return UnauthorizedError(f"the node does not take this: {why}", problem=problem)
        case "quota-exceeded":
            return QuotaExceededError(why, problem=problem, retry_after=retry_after)
        case "no-decision" | "no-quorum" | "stale-configuration" | "overloaded" | "draining" | "tenant-rate":
            # Nodes without that member say it in words.
            is_unknown = problem.get("counted") == "unknown" or "unknown whether" in why
            return NoDecisionError(
                f"no decision could be had: {why}",
                problem=problem,
                counted="unknown" if is_unknown else "no",
                retry_after=retry_after,
            )
        case _:
            return RefusedError(why, problem=problem)


def silent(why: str, counted: Counted) -> NoDecisionError:
    """Nobody answered."""
    return NoDecisionError(f"no decision could be had: {why}", counted=counted, retry_after=SILENT_RETRY)


def decision(body: Any, fields: Fields) -> Answer | None:
    """A decision, if it is one."""
    if not isinstance(body, dict) or not isinstance(body.get("allowed"), bool):
        return None
    limit, remaining, reset_after_ms = (body.get(name) for name in ("limit", "remaining", "reset_after_ms"))
    if not (isinstance(limit, int) and isinstance(remaining, int) and isinstance(reset_after_ms, int)):
        return None
    retry_after_ms = body.get("retry_after_ms")
    policy = fields.get("ratelimit-policy", "")
    reset_after = reset_after_ms / 1_000
    grows_after = _parameter(fields.get("ratelimit", ""), "t")
    return Answer(
        allowed=body["allowed"],
        limit=limit,
        per=_parameter(policy, "w"),
        burst=_parameter(policy, "weir-burst"),
        remaining=remaining,
        # Seconds are rounded up: never later than the key is full.
        grows_after=reset_after if grows_after is None else min(float(grows_after), reset_after),
        reset_after=reset_after,
        retry_after=retry_after_ms / 1_000 if isinstance(retry_after_ms, int) else None,
        by_fail_mode=body.get("by_fail_mode") is True,
    )


def batch(body: Any) -> list[Answer | WeirError] | None:
    """What a batch was answered, if it is that: a decision or an error for each check."""
    results = body.get("results") if isinstance(body, dict) else None
    if not isinstance(results, list):
        return None
    told: list[Answer | WeirError] = []
    for result in results:
        problem = as_problem(result.get("error")) if isinstance(result, dict) else None
        one = decision(result, {}) if problem is None else error_of(problem)
        if one is None:
            return None
        told.append(one)
    return told


_FIRST = re.compile(r'\s*"(?:[^"\\]|\\.)*"([^,]*)')


def _parameter(value: str, name: str) -> int | None:
    """The number of a parameter of the first item: the limit's. The day of a tenant stands behind it."""
    first = _FIRST.match(value)
    for part in first.group(1).split(";") if first else []:
        key, _, number = part.partition("=")
        if key == name and number.isdecimal():
            return int(number)
    return None
