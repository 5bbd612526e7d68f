"""A limit in front of routes of FastAPI. Ask it twice within a minute:

weir node &                                # knows the limit user_home: one a minute
pip install fastapi uvicorn ../../python
uvicorn app:app &
curl -i 'http://127.0.0.1:8000/user_home?name=ada'
"""

import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Response
from fastapi.responses import PlainTextResponse
from weir_client import AsyncLimit, AsyncRemote, WeirError

nodes = os.environ.get("WEIR_URLS", "http://127.0.0.1:4000").split(",")
weir = AsyncRemote(nodes, api_key=os.environ.get("WEIR_API_KEY"))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with weir:
        yield


app = FastAPI(lifespan=lifespan)


def user(x_user_id: Annotated[str | None, Header()] = None, name: str | None = None) -> str:
    found = x_user_id or name
    if not found:
        raise HTTPException(401, "User ID Required")
    return found


def limited(limit: AsyncLimit, by: Callable[..., str]) -> Callable[..., Awaitable[None]]:
    """Lets a request pass if `limit` has room for whom `by` finds in it."""

    async def dependency(response: Response, key: Annotated[str, Depends(by)]) -> None:
        try:
            outcome = await limit.key(key).check()
        except WeirError as error:
            # Nobody decided. Here nobody passes then; `return` in place of `raise` would let everybody pass.
            logging.error("%s: %s", type(error).__name__, error)
            retry_after = str(math.ceil(error.retry_after or 1))
            raise HTTPException(503, "Try again", {"Retry-After": retry_after}) from error
        headers = {
            "X-RateLimit-Limit": str(outcome.limit),
            "X-RateLimit-Remaining": str(outcome.remaining),
            "X-RateLimit-Reset": str(math.ceil(outcome.reset_after)),
        }
        if not outcome.allowed:
            headers["Retry-After"] = str(math.ceil(outcome.retry_after))
            raise HTTPException(429, "Too Many Requests", headers)
        response.headers.update(headers)

    return dependency


@app.get("/user_home", response_class=PlainTextResponse, dependencies=[Depends(limited(weir.limit("user_home"), user))])
async def user_home(name: Annotated[str, Depends(user)]) -> str:
    return f"Hello, {name}"
