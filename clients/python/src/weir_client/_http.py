"""Requests and answers of HTTP/1.1 as bytes, without a socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ._nodes import Send
from ._wire import HIT_ID, Question

ANSWER_MAX = 4 * 1024 * 1024
"""Bytes of an answer. A decision has 160; a batch, or a page of limits, a thousand of them."""

CONNECT = 1.2
"""How long a node may take to accept a connection. Within a region that takes a millisecond; a lost packet is sent again
after a second."""

IDLE = 30.0
"""Connections that wait for a question are closed before the 60 s after which a node closes them."""

IDLE_MAX = 64
"""Connections that wait for questions, for each node: as many as are in flight at once in a busy program."""


class Broken(Exception):
    """No answer, or none that is HTTP: the connection is of no use any more."""


def request(question: Question[Any], send: Send, bearer: str | None) -> bytes:
    """The request that asks."""
    node = send.node
    host = f"[{node.host}]" if ":" in node.host else node.host
    head = [f"{question.method} {question.path} HTTP/1.1", f"Host: {host}:{node.port}"]
    if bearer is not None:
        head.append(f"Authorization: {bearer}")
    if send.name is not None:
        head.append(f"{HIT_ID}: {send.name}")
    body = b""
    if question.body is not None:
        body = json.dumps(question.body, separators=(",", ":")).encode()
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode("ascii") + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Response:
    """An answer that is whole."""

    status: int
    fields: dict[str, str]
    body: bytes
    stays_open: bool
    """Whether the connection takes another question."""


class Reading:
    """An answer while it comes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, more: bytes) -> Response | None:
        """Takes what has come; `b""` once nothing more does. `None`: it is not whole yet.

        Raises `Broken` if it will never be.
        """
        self._bytes += more
        if ANSWER_MAX < len(self._bytes):
            raise Broken("an answer without end")
        try:
            response = _whole(bytes(self._bytes), is_end=not more)
        except (ValueError, IndexError) as error:
            raise Broken("an answer that is no HTTP") from error
        if response is None and not more:
            raise Broken("the connection was closed before the answer")
        return response


def _whole(text: bytes, is_end: bool) -> Response | None:
    head, found, rest = text.partition(b"\r\n\r\n")
    if not found:
        return None
    version_status, *lines = head.decode("latin-1").split("\r\n")
    version, status_text = version_status.split(" ")[:2]
    status = int(status_text)
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    if 100 <= status < 200:
        return _whole(rest, is_end)
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    stays_open = version == "HTTP/1.1" and "close" not in fields.get("connection", "").lower()
    if status in (204, 304):
        return Response(status, fields, b"", stays_open)
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = _unchunked(rest)
        return None if body is None else Response(status, fields, body, stays_open)
    if "content-length" not in fields:
        return Response(status, fields, rest, False) if is_end else None
    length = int(fields["content-length"])
    return None if len(rest) < length else Response(status, fields, rest[:length], stays_open)


def _unchunked(rest: bytes) -> bytes | None:
    body = b""
    while True:
        size_text, found, rest = rest.partition(b"\r\n")
        if not found:
            return None
        size = int(size_text.split(b";")[0], 16)
        if size == 0:
            # Trailers, if any, end with an empty line.
            return body if rest.startswith(b"\r\n") or b"\r\n\r\n" in rest else None
        if len(rest) < size + 2:
            return None
        body += rest[:size]
        rest = rest[size + 2 :]
