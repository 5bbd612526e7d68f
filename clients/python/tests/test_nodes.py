"""What a program is told by real nodes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from weir_client import (
    AsyncRemote,
    Definition,
    InvalidError,
    NeverConformsError,
    QuotaExceededError,
    RefusedError,
    Remote,
    Rule,
    UnauthorizedError,
    UnknownLimitError,
)

from .played import Played, Plays, loses_answers
from .real import API_TOKEN, Cluster, tenant

CONFIG = (Path(__file__).parents[2] / "tests" / "limits.toml").read_text()

SERVICE = """
[service]
public_url = "http://127.0.0.1:4000"
"""

HITS = 240
KILLED_AT = 100


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(CONFIG)
    try:
        cluster.start().start().settle()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def weir(remote: Callable[..., Any], cluster: Cluster) -> Any:
    return remote(cluster.urls, api_token=API_TOKEN)


@pytest.fixture
def key() -> str:
    """One that no other test counts."""
    return str(uuid.uuid4())


def test_hits_pass_until_the_limit_is_spent_and_a_denial_is_a_value(weir: Any, key: str) -> None:
    asking = weir.limit("login").key(("user", key))
    for remaining in (2, 1, 0):
        outcome = asking.check()
        assert outcome
        assert (outcome.allowed, outcome.remaining, outcome.limit) == (True, remaining, 3)
    denied = asking.check()
    assert not denied
    assert (denied.allowed, denied.remaining) == (False, 0)
    assert 0 < denied.retry_after <= 3_600


def test_a_peek_counts_nothing_a_refund_gives_back_a_reset_makes_full(weir: Any, key: str) -> None:
    asking = weir.limit("login").key(key)
    asking.cost(2).check()
    peeked = asking.peek()
    assert (peeked.allowed, peeked.remaining, peeked.limit, peeked.per, peeked.by_fail_mode) == (True, 1, 3, 3_600, False)
    assert asking.peek().remaining == 1
    assert asking.refund().remaining == 2
    asking.cost(2).check()
    asking.reset()
    assert asking.peek().remaining == 3


def test_a_batch_is_answered_check_by_check_with_an_error_where_there_is_no_decision(weir: Any, key: str) -> None:
    asking = weir.limit("login").key(key)
    unknown = weir.limit("no-such-limit").key(key)
    results = weir.check_all([asking, unknown, asking.cost(2), asking, asking.cost(4)])
    assert (results[0].allowed, results[0].remaining) == (True, 2)
    assert isinstance(results[1], UnknownLimitError)
    assert (results[2].allowed, results[2].remaining) == (True, 0)
    assert not results[3] and 0 < results[3].retry_after
    assert isinstance(results[4], NeverConformsError)


def test_what_is_wrong_is_told_by_the_class_of_the_error_and_was_not_counted(
    weir: Any, remote: Callable[..., Any], cluster: Cluster, key: str
) -> None:
    with pytest.raises(UnknownLimitError) as unknown:
        weir.limit("no-such-limit").key(key).check()
    assert unknown.value.counted == "no"
    assert unknown.value.problem is not None and unknown.value.problem["type"] == "/problems/unknown-limit"
    login = weir.limit("login")
    with pytest.raises(InvalidError):
        login.key("").check()
    with pytest.raises(InvalidError):
        login.key(key).cost(-1).check()
    with pytest.raises(NeverConformsError):
        login.key(key).cost(4).check()
    with pytest.raises((InvalidError, RefusedError)):
        weir.check_all([login.key(key)] * 1_001)
    assert login.key(key).peek().remaining == 3
    with pytest.raises(UnauthorizedError):
        remote(cluster.urls).limit("login").key(key).check()


def test_a_limit_can_go_with_the_question(weir: Any, key: str) -> None:
    assert weir.allow(("visit", key), "1h")
    assert not weir.allow(f"visit:{key}", timedelta(hours=1))
    assert not weir.allow(f"visit:{key}", 3_600)
    assert weir.check_rate(key, "1d", 10, 4).remaining == 6
    assert weir.check_rate(key, "1d", 10).remaining == 5
    burst = weir.limit_of(Rule("gcra", 1, "1h", burst=5)).key(key)
    assert burst.cost(5).check()
    assert burst.peek().burst == 5


def test_limits_are_made_told_and_removed(weir: Any) -> None:
    trial = weir.limit("trial")
    made = trial.define(Definition("gcra", 7, "1m", on_failure="allow"))
    assert made.pending == ()
    assert made.definition == trial.describe()
    assert made.definition == Definition(
        "gcra", 7, "1m", strategy="owner", on_failure="allow", name="trial", burst=7, keep=made.definition.keep
    )
    assert sorted(limit.name for limit in weir.limits()) == ["login", "many", "told", "trial"]
    trial.remove()
    with pytest.raises(UnknownLimitError):
        trial.describe()
    with pytest.raises(RefusedError) as refused:
        weir.limit("login").remove()
    assert refused.value.problem is not None and refused.value.problem["type"] == "/problems/defined-in-file"


def test_a_hit_whose_answer_was_lost_is_asked_again_under_its_name_and_counts_once(
    weir: Any, remote: Callable[..., Any], cluster: Cluster, key: str, played: Callable[[Plays], Played]
) -> None:
    relay = played(loses_answers(cluster.urls[0]))
    lossy = remote([relay.url, cluster.urls[1]], api_token=API_TOKEN)
    assert lossy.limit("login").key(key).check().remaining == 2
    assert weir.limit("login").key(key).peek().remaining == 2
    assert relay.asked == 1


def test_a_limit_of_a_strategy_without_names_is_asked_all_the_same(weir: Any, key: str) -> None:
    told = weir.limit("told").key(key)
    assert told.check() and told.check()


def test_an_api_key_meets_its_tenants_limits_and_a_day_that_is_used_up_is_an_error_of_its_own(
    remote: Callable[..., Any],
) -> None:
    service = Cluster(SERVICE)
    try:
        service.start("--ephemeral")
        acme = remote(service.urls, api_key=tenant(service.urls[0], 3, ["check", "limits.write"]))
        login = acme.limit("login")
        login.define(Rule("sliding_log", 2, "1h"))
        assert [login.key("ada").check().remaining for _ in range(2)] == [1, 0]
        # The limit, which costs nothing of the day.
        assert not login.key("ada").check()
        assert login.key("eve").check()
        with pytest.raises(QuotaExceededError) as used_up:
            login.key("eve").check()
        assert (used_up.value.counted, used_up.value.limit, used_up.value.used) == ("no", 3, 3)
        assert used_up.value.resets_at is not None and 0 < used_up.value.retry_after
        assert login.key("eve").peek().per == 3_600
        with pytest.raises(UnauthorizedError):
            login.key("ada").refund()
        with pytest.raises(UnauthorizedError):
            remote(service.urls, api_key="weir_key_nobody").limit("login").key("ada").check()
    finally:
        service.stop()


def _hits_of_threads(cluster: Cluster, kills: Callable[[int], None]) -> tuple[int, int]:
    with Remote(cluster.urls, api_token=API_TOKEN) as weir, ThreadPoolExecutor(4) as threads:
        key = weir.limit("many").key("load")

        def hit(number: int) -> bool:
            kills(number)
            return key.check().allowed

        passed = sum(threads.map(hit, range(HITS)))
        return passed, key.peek().remaining


def _hits_of_tasks(cluster: Cluster, kills: Callable[[int], None]) -> tuple[int, int]:
    async def hits() -> tuple[int, int]:
        async with AsyncRemote(cluster.urls, api_token=API_TOKEN) as weir:
            key = weir.limit("many").key("load")
            numbers = iter(range(HITS))

            async def asks() -> int:
                passed = 0
                for number in numbers:
                    kills(number)
                    passed += (await key.check()).allowed
                return passed

            passed = await asyncio.gather(*[asks() for _ in range(4)])
            return sum(passed), (await key.peek()).remaining

    return asyncio.run(hits())


@pytest.mark.parametrize("hits", [_hits_of_threads, _hits_of_tasks])
def test_a_node_that_is_killed_under_load_fails_no_hit_and_each_counts_once(
    hits: Callable[[Cluster, Callable[[int], None]], tuple[int, int]],
) -> None:
    cluster = Cluster(CONFIG)
    try:
        cluster.start().start().settle()

        def kills(number: int) -> None:
            if number == KILLED_AT:
                cluster.kill(0)

        assert hits(cluster, kills) == (HITS, 100_000 - HITS)
    finally:
        cluster.stop()
