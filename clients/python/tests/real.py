"""Real nodes of `WEIR_BIN`, in a folder of their own, which end with the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

API_TOKEN = "a-token-of-the-tests"

# Shards of two nodes have their copies within a second or two; this is for machines that do much else.
SETTLED_WITHIN = 30.0


class Cluster:
    def __init__(self, config: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="weir-client-")
        self._cookie = str(uuid.uuid4())
        self._nodes: list[subprocess.Popen[str]] = []
        self.urls: list[str] = []
        Path(self._folder.name, "weir.toml").write_text(config)

    def start(self, *options: str) -> Cluster:
        """Starts another node, and waits until it serves."""
        name = f"oskar{len(self._nodes)}"
        node = [os.environ["WEIR_BIN"], "node", "--name", name, "--http", "127.0.0.1:0"]
        process = subprocess.Popen(
            [*node, "--config", "weir.toml", "--api-token", API_TOKEN, *options],
            cwd=self._folder.name,
            env={"HOME": self._folder.name, "WEIR_COOKIE": self._cookie},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._nodes.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            ready = re.search(r" ready http=(\S+)", line)
            if ready:
                self.urls.append(f"http://{ready[1]}")
                return self
        raise AssertionError(f"{name} ended before it served")

    def settle(self) -> None:
        """Waits until every shard has all its copies, so that nothing is forgotten when a node dies."""
        started = time.monotonic()
        for url in self.urls:
            while True:
                told = operator(f"{url}/v1/cluster")
                alive = sum(member["status"] == "alive" for member in told["members"])
                is_settled = told["under_replicated_shards"] == 0 and told["unsettled_shards"] == 0
                if alive == len(self._nodes) and is_settled:
                    break
                assert time.monotonic() < started + SETTLED_WITHIN, told
                time.sleep(0.02)

    def kill(self, place: int) -> None:
        """As `kill -9` does."""
        self._nodes[place].kill()

    def stop(self) -> None:
        for node in self._nodes:
            node.kill()
            node.wait()
            assert node.stdout is not None
            node.stdout.close()
        self._folder.cleanup()


def operator(url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """What an operator is answered."""
    proof = {"Authorization": f"Bearer {API_TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {**proof, **(headers or {})})) as answer:
        return json.load(answer)


def tenant(url: str, requests_per_day: int, scopes: Sequence[str]) -> str:
    """A tenant with so many requests a day, and an API key of it."""
    made = operator(f"{url}/v1/tenants", {"name": "Acme", "requests_per_day": requests_per_day})
    key = operator(f"{url}/v1/api-keys", {"name": "backend", "scopes": scopes}, {"Weir-Tenant": made["id"]})
    return str(key["key"])
