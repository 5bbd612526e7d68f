"""A program and nodes that fail in every way."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from weir_client import NoDecisionError, Remote, joined
from weir_client._http import Broken, Reading, Response

from .played import (
    Played,
    Plays,
    admits,
    doubts,
    drains,
    hangs,
    is_silent,
    nobody,
    says_strange_things,
    takes_no_names,
)

Play = Callable[[Plays], Played]
Make = Callable[..., Any]


def no_decision(counted: str, ask: Callable[[], object]) -> None:
    with pytest.raises(NoDecisionError) as error:
        ask()
    assert error.value.counted == counted
    assert 0 < error.value.retry_after


def test_nodes_take_turns_on_connections_that_stay_open(remote: Make, played: Play) -> None:
    nodes = [played(admits), played(admits)]
    limit = remote([node.url for node in nodes]).limit("login")
    for _ in range(10):
        assert limit.key("u1").check().remaining == 4
    assert [node.asked for node in nodes] == [5, 5]
    assert [node.connections for node in nodes] == [1, 1]


def test_what_was_surely_not_counted_is_asked_of_another_node(remote: Make, played: Play) -> None:
    drained, well = played(drains), played(admits)
    asked = remote([nobody(), drained.url, well.url])
    for hit in range(1, 31):
        assert asked.allow("u1", "1m")
        assert well.asked == hit


def test_a_node_that_failed_is_passed_over_for_a_while(remote: Make, played: Play) -> None:
    hung, well = played(hangs), played(admits)
    limit = remote([hung.url, well.url]).limit("login")
    for _ in range(20):
        limit.key("u1").peek()
    # Once, and perhaps again if this machine took more than 250 ms for 20 questions.
    assert hung.asked < 5
    assert well.asked == 20


@pytest.mark.parametrize("plays", [hangs, doubts, is_silent, says_strange_things])
def test_a_hit_whose_answer_is_lost_is_asked_again_by_its_name(remote: Make, played: Play, plays: Plays) -> None:
    fails, well = played(plays), played(admits)
    limit = remote([fails.url, well.url]).limit("login")
    assert limit.key("u1").check()
    assert (fails.asked, well.asked) == (1, 1)
    assert re.fullmatch("[0-9a-f]{32}-0", fails.names[0])
    assert fails.names == well.names


def test_each_hit_and_refund_has_a_name_of_its_own_and_a_peek_has_none(remote: Make, played: Play) -> None:
    node = played(admits)
    for limit in (remote(node.url).limit("login"), remote(node.url).limit("login")):
        limit.key("u1").check()
        limit.key("u1").refund()
        limit.key("u1").peek()
    named = [name for name in node.names if name]
    assert (node.asked, len(named), len(set(named))) == (6, 4, 4)


@pytest.mark.parametrize("then", [drains, hangs])
def test_what_may_have_been_counted_stays_unknown_when_nobody_answers(remote: Make, played: Play, then: Plays) -> None:
    fails, following = played(hangs), played(then)
    limit = remote([fails.url, following.url], deadline=0.2).limit("login")
    no_decision("unknown", limit.key("u1").check)
    assert 0 < following.asked


def test_a_limit_that_takes_no_names_is_asked_without_and_never_again(remote: Make, played: Play) -> None:
    nameless, hung = played(takes_no_names), played(hangs)
    limit = remote(nameless.url).limit("local")
    assert all(limit.key("u1").check() for _ in range(3))
    named = [name for name in nameless.names if name]
    assert (len(named), nameless.asked) == (1, 4), "told once"

    both = remote([nameless.url, hung.url]).limit("local")
    assert both.key("u1").check()
    no_decision("unknown", both.key("u1").check)
    assert hung.asked == 1


def test_what_may_have_been_counted_is_not_asked_without_its_name(remote: Make, played: Play) -> None:
    hung, nameless = played(hangs), played(takes_no_names)
    limit = remote([hung.url, nameless.url]).limit("local")
    no_decision("unknown", limit.key("u1").check)
    assert (hung.asked, nameless.asked) == (1, 1)


def test_a_batch_has_no_names_so_that_a_lost_answer_is_the_end(remote: Make, played: Play) -> None:
    hung, well = played(hangs), played(admits)
    weir = remote([hung.url, well.url], deadline=0.2)
    key = weir.limit("login").key("u1")
    no_decision("unknown", lambda: weir.check_all([key, key.cost(0)]))
    assert (hung.asked, well.asked) == (1, 0)


def test_a_deadline_ends_what_nobody_answers_and_whether_it_was_counted_is_unknown(remote: Make, played: Play) -> None:
    silent = played(is_silent)
    limit = remote(silent.url, deadline=0.15).limit("login")
    no_decision("unknown", limit.key("u1").check)
    assert silent.asked == 1


def test_without_a_node_the_deadline_ends_it_and_nothing_was_counted(remote: Make) -> None:
    limit = remote(nobody(), deadline=0.1).limit("login")
    no_decision("no", limit.key("u1").check)


def test_a_connection_that_was_closed_while_it_waited_is_not_asked(remote: Make, played: Play) -> None:
    answers = iter(["first", "second"])

    def closes_later(request: Any, body: bytes) -> Any:
        # Said in no header: as a node that has gone, or a balancer that grew tired.
        request.close_connection = next(answers) == "first"
        return admits(request, body)

    node = played(closes_later)
    weir = remote(node.url)
    limit = weir.limit("login").key("u1")
    assert limit.check()
    while node.open:
        time.sleep(0.001)
    # Asked once more, it would not be the only one.
    assert limit.check()
    assert (node.asked, node.connections) == (2, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no process")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_shares_neither_names_nor_connections(played: Play) -> None:
    node = played(admits)
    with Remote(node.url) as weir:
        key = weir.limit("login").key("u1")
        assert key.check()
        child = os.fork()
        if child == 0:
            passed = False
            # Whatever comes of it, this is not another run of the tests.
            try:
                passed = key.check().allowed
            finally:
                os._exit(0 if passed else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert key.check()
    assert (node.asked, node.connections, len(set(node.names))) == (3, 2, 3)


def test_parts_of_a_key_are_joined_so_that_no_two_tuples_share_a_counter() -> None:
    keys = [("user", "u1"), ("a:b", "c"), ("a", "b:c"), ("a\\", "b"), ("", "b")]
    assert [joined(key) for key in keys] == ["user:u1", r"a\:b:c", r"a:b\:c", r"a\\:b", ":b"]


@pytest.mark.parametrize("url", ["", "a:4000", "ftp://a", "http://a/v1", "http://me:secret@a", "http://a b", "http://a:x"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        Remote(url)
    assert "secret" not in str(refused.value)


def test_what_is_no_token_is_refused_at_once() -> None:
    with pytest.raises(ValueError):
        Remote([])
    with pytest.raises(ValueError):
        Remote("http://a", api_key="line\nbreak")
    with pytest.raises(ValueError):
        Remote("http://a", api_key="k", api_token="t")


ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}": Response(200, {"content-length": "2"}, b"{}", True),
    b"HTTP/1.1 204 No Content\r\nWeir-Pending: a\r\n\r\n": Response(204, {"weir-pending": "a"}, b"", True),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n": Response(
        200, {"connection": "close", "content-length": "0"}, b"", False
    ),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\n{\r\n1\r\n}\r\n0\r\n\r\n": Response(
        200, {"transfer-encoding": "chunked"}, b"{}", True
    ),
}


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_read_however_it_comes_in_pieces(text: bytes) -> None:
    assert Reading().feed(text) == ANSWERS[text]
    reading = Reading()
    told = [reading.feed(text[place : place + 1]) for place in range(len(text))]
    assert told[:-1] == [None] * (len(text) - 1)
    assert told[-1] == ANSWERS[text]
    cut = Reading()
    assert cut.feed(text[:-1]) is None
    with pytest.raises(Broken):
        cut.feed(b"")


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    reading = Reading()
    assert reading.feed(b"HTTP/1.1 200 OK\r\n\r\n{}") is None
    assert reading.feed(b"") == Response(200, {}, b"{}", False)


@pytest.mark.parametrize("text", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"HTTP/2 200\r\n\r\n"])
def test_what_is_no_answer_breaks_the_connection(text: bytes) -> None:
    with pytest.raises(Broken):
        Reading().feed(text)
