"""Reads of several items beside writes: what is read is of one moment, though DynamoDB reads a batch item by item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from session_continuity import (
    Message,
    MessageQuery,
    Patch,
    Session,
    SessionFilter,
    SessionMetadata,
    StorageAdapter,
    run_now,
)

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_meter import apis
from ..kit.dynamodb_proxy import Answer, Call, DynamoDBProxy, Rule, read_apart
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])

TITLE = Patch({"metadata": SessionMetadata(title="t")})


@pytest.fixture
def slow(bench: Bench, proxy: DynamoDBProxy) -> StorageAdapter:
    """A store that others overtake."""
    return bench.open(endpoint_url=proxy.url, read_timeout=60, listing="exact")


def begins(sort: str) -> Callable[[dict[str, Any]], bool]:
    return lambda key: key["SK"]["S"].startswith(sort)


def behind(act: Callable[[], Any]) -> Rule:
    """A rule: something is done between the engine's answer and its arrival."""

    def rule(call: Call) -> Answer:
        answer = call.forward()
        act()
        return answer

    return rule


def listed(store: StorageAdapter) -> Session | None:
    return next(iter(run_now(store.list_sessions(SessionFilter(user_id="u"), limit=5))), None)


@pytest.mark.parametrize("first", ["META", "MSG$"])
def test_session_made_anew_does_not_have_the_totals_of_the_old_one(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy, first: str
) -> None:
    session = bench.create(store)
    bench.append(store, session)

    def make_anew() -> None:
        run_now(store.delete_session(session.id))
        run_now(store.create_session(session.model_copy(update={"user_id": "new", "creation_token": "other"})))

    proxy.rules["BatchGetItem"] = [read_apart(make_anew, first=begins(first))]
    found = run_now(slow.get_session(session.id))
    assert found is not None
    assert (found.user_id, found.message_count) == ("new", 0)


@pytest.mark.parametrize("first", ["META", "MSG$"])
def test_session_that_is_deleted_meanwhile_is_not_read_without_its_messages(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy, first: str
) -> None:
    session = bench.create(store)
    bench.append(store, session)
    proxy.rules["BatchGetItem"] = [read_apart(lambda: run_now(store.delete_session(session.id)), first=begins(first))]
    assert run_now(slow.get_session(session.id)) is None


def test_listing_shows_session_and_totals_of_one_moment(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy
) -> None:
    session = bench.create(store, user_id="u")
    proxy.rules["Query"] = [
        behind(lambda: run_now(store.append_messages(session.id, [bench.message(session)], patch=TITLE)))
    ]
    found = listed(slow)
    assert found is not None
    assert (found.version, found.metadata.title, found.message_count) == (2, "t", 1)


def test_list_of_system_messages_is_of_the_moment_of_the_session(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy
) -> None:
    session = bench.create(store, user_id="u")
    rules = bench.append(store, session, 12, role="system", tokens=1)

    def rewrite() -> None:
        run_now(store.replace_tail(session.id, rules[0].id))
        run_now(store.update_session(session.id, TITLE))

    proxy.rules["Query"] = [behind(rewrite)]
    assert run_now(slow.get_session(session.id)) == run_now(store.get_session(session.id))


TAIL = ("old 0", "old 1")
NEW = ("new 0", "new 1")


def with_tail(bench: Bench, store: StorageAdapter) -> tuple[Session, list[Message], Callable[[], Any]]:
    """A session, its messages, and the replacement of the last two, whose ids the new ones have again."""
    session = bench.create(store)
    old = [bench.message(session, text, id=f"m{n}") for n, text in enumerate(("first", *TAIL))]
    stored = run_now(store.append_messages(session.id, old, client_ids=["m0", "m1", "m2"])).messages

    def replace() -> None:
        new = [bench.message(session, text, id=f"m{n}") for n, text in enumerate(NEW, 1)]
        run_now(store.replace_tail(session.id, "m0", new, client_ids=["m1", "m2"]))

    return session, list(stored), replace


@pytest.mark.parametrize("first", ["MSG$", "MSG#", "MSGID#"])
@pytest.mark.parametrize("request_number", [0, 1])
def test_messages_read_by_their_ids_are_of_one_tail(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy, first: str, request_number: int
) -> None:
    session, _, replace = with_tail(bench, store)
    proxy.rules["BatchGetItem"] = [*[Call.forward] * request_number, read_apart(replace, first=begins(first))]
    found = run_now(slow.get_messages(session.id, MessageQuery(ids=["m1", "m2"])))
    assert tuple(message.content for message in found) in (TAIL, NEW)


@pytest.mark.parametrize("first", ["MSG$", "MSG#"])
def test_messages_read_at_the_places_in_their_ids_are_of_one_tail(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy, first: str
) -> None:
    session = bench.create(store)
    sent = bench.append(store, session, 3)
    proxy.rules["BatchGetItem"] = [
        read_apart(lambda: run_now(store.replace_tail(session.id, sent[0].id)), first=begins(first))
    ]
    assert not run_now(slow.get_messages(session.id, MessageQuery(ids=[sent[1].id, sent[2].id])))


def test_messages_read_by_their_ids_cost_one_request(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    sent = bench.append(store, session, 4)
    run_now(store.replace_tail(session.id, sent[1].id, [bench.message(session)]))
    with bench.meter.counting() as made:
        assert len(run_now(bench.open().get_messages(session.id, MessageQuery(ids=[m.id for m in sent[:2]])))) == 2
    assert apis(made) == ["BatchGetItem"]


@pytest.mark.parametrize("step", ["heads", "system messages"])
def test_conversation_is_of_one_tail(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy, step: str
) -> None:
    session = bench.create(store)
    sent = bench.append(store, session, 3, role="system")
    bench.append(store, session)
    new = bench.message(session, "new", "system")

    def replace() -> None:
        run_now(store.replace_tail(session.id, sent[0].id, [new]))

    heads = [behind(replace)] if step == "heads" else [Call.forward, read_apart(replace)]
    proxy.rules["BatchGetItem"] = [*heads]
    found = run_now(slow.get_conversation(session.id, MessageQuery(order="desc", limit=1)))
    told = [message.content for message in (*found.system_messages, *found.messages)]
    assert told in (["message 0", "message 1", "message 2", "message 0"], ["message 0", "new"])


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_page_that_takes_several_requests_is_of_one_tail(
    bench: Bench, store: StorageAdapter, slow: StorageAdapter, proxy: DynamoDBProxy, order: Any
) -> None:
    session = bench.create(store)
    sent: list[Message] = []
    for number in range(5):
        bench.clock.advance(seconds=1)
        sent += run_now(
            store.append_messages(session.id, [bench.message(session, f"{number}" + "x" * 350_000)])
        ).messages
    new = bench.message(session, "new")
    proxy.rules["Query"] = [behind(lambda: run_now(store.replace_tail(session.id, sent[1].id, [new])))]
    query = MessageQuery(order=order, limit=5, after=sent[0].created_at)
    found = [str(message.content)[0] for message in run_now(slow.get_messages(session.id, query))]
    assert sorted(found) in (["1", "n"], ["1", "2", "3", "4"])
