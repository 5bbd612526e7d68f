"""The example for FastAPI, in front of a real node."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .real import API_TOKEN, Cluster

APP = Path(__file__).parents[2] / "examples" / "fastapi"

CONFIG = """
[[limit]]
name = "user_home"
algorithm = "sliding_log"
limit = 1
per = "1h"
"""


def ask(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], str]:
    try:
        with urlopen(Request(url, headers=dict(headers or {}))) as answer:
            return answer.status, dict(answer.headers.items()), answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), ""


def test_the_example_lets_one_pass_tells_the_next_to_wait_and_nobody_when_no_node_is_left() -> None:
    cluster = Cluster(CONFIG)
    try:
        cluster.start()
        app = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--app-dir", str(APP), "--port", "0", "app:app"],
            env={"WEIR_URLS": ",".join(cluster.urls), "WEIR_API_KEY": API_TOKEN, "PYTHONDONTWRITEBYTECODE": "1"},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert app.stderr is not None
        try:
            said = (re.search(r"running on (http://\S+)", line) for line in app.stderr)
            url = next(found[1] for found in said if found)
            home = f"{url}/user_home"
            status, headers, body = ask(home, {"X-User-Id": "ada"})
            assert (status, body, headers["x-ratelimit-remaining"]) == (200, "Hello, ada", "0")
            status, headers, _ = ask(home, {"X-User-Id": "ada"})
            assert status == 429 and re.fullmatch("[1-9][0-9]*", headers["retry-after"])
            assert ask(f"{home}?name=bob")[0] == 200
            assert ask(home)[0] == 401
            cluster.kill(0)
            assert ask(f"{home}?name=eve")[0] == 503
        finally:
            app.terminate()
            app.communicate()
    finally:
        cluster.stop()
