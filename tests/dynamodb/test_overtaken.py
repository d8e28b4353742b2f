"""Calls that others overtake on the wire, and guesses that have become wrong: each call ends with one truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from session_continuity import Patch, Session, run_now
from session_continuity_dynamodb import DynamoDBStorage

from .bench import Bench
from .proxy import Call, Proxy, Rule, between


@pytest.fixture
def proxy(quick: Bench) -> Iterator[Proxy]:
    with between(quick.engine.url) as held:
        yield held


@pytest.fixture
def store(quick: Bench) -> DynamoDBStorage:
    return quick.open()


@pytest.fixture
def slow(quick: Bench, proxy: Proxy) -> DynamoDBStorage:
    """A store that others overtake."""
    return quick.open(endpoint_url=proxy.url, read_timeout=60)


@pytest.fixture
def session(quick: Bench, store: DynamoDBStorage) -> Session:
    return quick.create(store)


def after(act: Callable[[], Any]) -> Rule:
    """Forward a request after something else has been done."""

    def rule(call: Call) -> tuple[int, dict[str, str], bytes]:
        act()
        return call.forward()

    return rule


def sorts(bench: Bench, session: Session) -> list[str]:
    return [row["SK"]["S"] for row in bench.rows(session.id)]


@pytest.mark.parametrize("change", [{"role": "system"}, {"content": "x" * 2_000_000}], ids=["a row more", "parts"])
def test_messages_that_an_edit_makes_larger_while_all_are_deleted_go_too(
    quick: Bench, store: DynamoDBStorage, slow: DynamoDBStorage, session: Session, proxy: Proxy, change: dict[str, Any]
) -> None:
    sent = quick.append(store, session, 9)
    proxy.rules["TransactWriteItems"] = [
        after(lambda: run_now(store.update_message(session.id, sent[3].id, Patch(change))))
    ]
    assert run_now(slow.delete_all_messages(session.id)) == 9
    assert sorts(quick, session) == ["META", "MSG$ACTIVITY"]
