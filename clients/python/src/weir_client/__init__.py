"""Asks the nodes of Weir over HTTP. Read `Remote` first, or `AsyncRemote` for asyncio.

    weir = Remote(["http://10.0.0.1:4000", "http://10.0.0.2:4000"])
    outcome = weir.limit("login").key("u1").check()
    if not outcome.allowed:
        print(f"again in {outcome.retry_after} s")

All spans that are told are seconds.
"""

from ._aio import AsyncAsking, AsyncLimit, AsyncRemote
from ._answer import Answer, Limited, Outcome, Pass
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
from ._key import Key, joined
from ._remote import Asking, Limit, Remote
from ._rule import Algorithm, Anchor, Defined, Definition, OnFailure, Rule, Span, Strategy

__all__ = [
    "Algorithm",
    "Anchor",
    "Answer",
    "Asking",
    "AsyncAsking",
    "AsyncLimit",
    "AsyncRemote",
    "Counted",
    "Defined",
    "Definition",
    "InvalidError",
    "Key",
    "Limit",
    "Limited",
    "NeverConformsError",
    "NoDecisionError",
    "OnFailure",
    "Outcome",
    "Pass",
    "QuotaExceededError",
    "RefusedError",
    "Remote",
    "Rule",
    "Span",
    "Strategy",
    "UnauthorizedError",
    "UnknownLimitError",
    "WeirError",
    "joined",
]
