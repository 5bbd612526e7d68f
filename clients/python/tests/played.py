"""Nodes that fail in every way, played by servers of the tests."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Union
from urllib.request import Request, urlopen

Answered = Union[tuple[int, Any], Literal["hangs", "silent"]]
"""A status and a body; or the connection is closed; or nothing comes."""

Plays = Callable[[BaseHTTPRequestHandler, bytes], Answered]
"""What a played node does with a request."""


def problem(status: int, kind: str, **members: Any) -> Answered:
    return status, {"type": f"/problems/{kind}", "title": "t", "status": status, "detail": "d", **members}


def admits(_request: BaseHTTPRequestHandler, _body: bytes) -> Answered:
    return 200, {"allowed": True, "limit": 5, "remaining": 4, "retry_after_ms": None, "reset_after_ms": 10}


def drains(_request: BaseHTTPRequestHandler, _body: bytes) -> Answered:
    return problem(503, "draining")


def hangs(_request: BaseHTTPRequestHandler, _body: bytes) -> Answered:
    return "hangs"


def is_silent(_request: BaseHTTPRequestHandler, _body: bytes) -> Answered:
    return "silent"


def doubts(_request: BaseHTTPRequestHandler, _body: bytes) -> Answered:
    return problem(503, "no-decision", counted="unknown")


def says_strange_things(_request: BaseHTTPRequestHandler, _body: bytes) -> Answered:
    return 200, "<html>"


def takes_no_names(request: BaseHTTPRequestHandler, body: bytes) -> Answered:
    if "Weir-Hit-Id" not in request.headers:
        return admits(request, body)
    return problem(400, "invalid-request", field="Weir-Hit-Id")


def loses_answers(node: str) -> Plays:
    """Hands every request on to a node, which counts it; and no answer comes back."""

    def plays(request: BaseHTTPRequestHandler, body: bytes) -> Answered:
        kept = ("Content-Type", "Weir-Hit-Id", "Authorization")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        with urlopen(Request(node + request.path, body, headers)) as answer:
            answer.read()
        return "hangs"

    return plays


class Played:
    """A played node, and what it was sent."""

    def __init__(self, plays: Plays) -> None:
        self.names: list[str] = []
        self.connections = 0
        self.open = 0
        self._stopped = threading.Event()
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A head and a body are two writes: without a wait between them.
            disable_nagle_algorithm = True

            def setup(self) -> None:
                played.connections += 1
                played.open += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                played.names.append(self.headers.get("Weir-Hit-Id", ""))
                answered = plays(self, body)
                if answered == "silent":
                    played._stopped.wait()
                if isinstance(answered, str):
                    self.close_connection = True
                    return
                status, told = answered
                text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def shutdown_request(self, request: Any) -> None:
                super().shutdown_request(request)
                played.open -= 1

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def asked(self) -> int:
        return len(self.names)

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        # Whoever is still connected is not waited for.
        self._server.block_on_close = False
        self._server.server_close()


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
