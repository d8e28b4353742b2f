"""Forks: what they cost, and what is seen of one that is interrupted, overtaken or repeated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    ForkedFrom,
    MessageQuery,
    Session,
    SessionExistsError,
    SessionNotFoundError,
    StorageAdapter,
    UnavailableError,
    run_now,
)
from session_continuity_dynamodb.items.keys import Keys

from ..kit.conversations import stored_contents
from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_meter import apis
from ..kit.dynamodb_proxy import Answer, Call, DynamoDBProxy, LoseReplyError, lose_reply
from .bench import Bench, item_of

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])

SMALL = 10
"""A limit on transactions with which a fork of a few messages takes several."""


def fork_of(bench: Bench, source: Session, through_id: str | None = None, **fields: Any) -> Session:
    """The session of a fork, not stored."""
    origin = ForkedFrom(session_id=source.id, message_id=through_id)
    return bench.session(forked_from=origin, creation_token="call", **fields)


@pytest.mark.parametrize("items", [100, SMALL])
def test_fork_is_whole_and_independent(bench: Bench, items: int) -> None:
    store = bench.open(transaction_items=items)
    source = bench.create(bench.open())
    sent = bench.talk(bench.open(), source)
    fork = fork_of(bench, source)
    stored = run_now(store.fork_session(source.id, fork))
    assert run_now(store.delete_session(source.id))
    assert bench.rows(source.id) == []
    copies = [message.model_copy(update={"session_id": fork.id}) for message in sent]
    assert list(run_now(bench.open().get_messages(fork.id, MessageQuery()))) == copies
    assert run_now(bench.open().get_session(fork.id)) == stored
    assert (stored.message_count, len(stored.system_message_ids)) == (15, 10)
    assert run_now(bench.open().get_message(fork.id, "m1")) == copies[1]
    assert run_now(store.delete_message(fork.id, "m1"))
    assert run_now(store.delete_session(fork.id))
    assert bench.rows(fork.id) == []


@pytest.mark.parametrize("count", [20, 1000])
def test_fork_takes_a_request_for_25_messages_and_two_more(bench: Bench, store: StorageAdapter, count: int) -> None:
    source = bench.create(store)
    keys = Keys(bench.namespace)
    messages = [bench.message(source) for _ in range(count)]
    bench.write_rows([item_of(keys, each, own_id=False, compression=None) for each in messages[:-1]])
    run_now(store.append_messages(source.id, messages[-1:]))
    with bench.meter.counting() as made:
        assert run_now(store.fork_session(source.id, fork_of(bench, source))).message_count == count
    assert len(made) <= -(-count // 25) + 2
    if count <= 90:
        assert apis(made) == ["BatchGetItem", "Query", "TransactWriteItems"]
        assert bench.transaction_units(made[-1]) == 2 * (count + 4)


def test_list_of_forks_costs_its_answer(bench: Bench, store: StorageAdapter) -> None:
    source = bench.create(store)
    [first, _] = bench.append(store, source, 2)
    forks = []
    for _ in range(3):
        bench.clock.advance(seconds=1)
        forks.append(run_now(store.fork_session(source.id, fork_of(bench, source, first.id), through_id=first.id)))
    with bench.meter.counting() as made:
        page = run_now(store.list_forks(source.id, limit=2))
    assert sorted(apis(made)) == ["BatchGetItem", "Query"]
    assert sum(request.units for request in made) == 3
    assert [(each.session_id, each.message_id) for each in page] == [(each.id, first.id) for each in forks[:2]]
    [last] = run_now(store.list_forks(source.id, limit=2, cursor=page.next_cursor))
    assert last.session_id == forks[2].id


@pytest.mark.parametrize("left", ["nothing", "its META, by the service"])
def test_deleted_fork_is_not_listed(bench: Bench, store: StorageAdapter, left: str) -> None:
    source = bench.create(store)
    bench.append(store, source)
    soon = bench.clock() + timedelta(hours=1)
    fork = run_now(store.fork_session(source.id, fork_of(bench, source, expires_at=soon)))
    if left != "nothing":
        bench.clock.advance(hours=2)
        [meta] = [row for row in bench.rows(fork.id) if row["SK"]["S"] == "META"]
        bench.raw("delete_item", Key={"PK": meta["PK"], "SK": meta["SK"]})
    assert run_now(store.delete_session(fork.id))
    assert len(run_now(store.list_forks(source.id, limit=5))) == 0


def interrupted(bench: Bench, proxy: DynamoDBProxy, step: int) -> tuple[Session, Session, Callable[[], Session]]:
    """A source, a fork of it that dies before its write number `step`, and the same call again."""
    source = bench.create(bench.open())
    bench.append(bench.open(), source, 12)
    fork = fork_of(bench, source)

    def die(_: Call) -> Answer:
        raise LoseReplyError

    dying = bench.open(endpoint_url=proxy.url, transaction_items=SMALL, max_attempts=1, retry_deadline=0)
    proxy.rules["TransactWriteItems"] = [*[Call.forward] * step, die]
    with pytest.raises(UnavailableError):
        run_now(dying.fork_session(source.id, fork))
    return source, fork, lambda: run_now(dying.fork_session(source.id, fork))


WRITES = 5
"""The claim, three transactions of rows, and the heads."""


@pytest.mark.parametrize("step", range(WRITES))
def test_interrupted_fork_is_not_seen_and_is_completed_by_repeating_it(
    bench: Bench, store: StorageAdapter, proxy: DynamoDBProxy, step: int
) -> None:
    source, fork, again = interrupted(bench, proxy, step)
    assert run_now(store.get_session(fork.id)) is None
    with pytest.raises(SessionNotFoundError):
        bench.append(store, fork)
    assert len(run_now(store.list_forks(source.id, limit=5))) == 0
    assert run_now(store.get_expired_sessions(bench.clock(), limit=5)).items == ()
    stored = again()
    assert run_now(store.get_session(fork.id)) == stored
    assert stored_contents(store, fork.id) == stored_contents(store, source.id)
    assert {row["SK"]["S"] for row in bench.rows(fork.id)} >= {"META", "MSG$ACTIVITY"}
    assert "EXPIRY" not in {row["SK"]["S"] for row in bench.rows(fork.id)}


@pytest.mark.parametrize("step", [1, WRITES - 1])
def test_interrupted_fork_is_removed_by_the_cleanup_or_a_create(
    bench: Bench, store: StorageAdapter, proxy: DynamoDBProxy, step: int
) -> None:
    _, fork, _ = interrupted(bench, proxy, step)
    if step == 1:
        run_now(store.create_session(fork.model_copy(update={"forked_from": None})))
        assert stored_contents(store, fork.id) == []
        return
    bench.clock.advance(hours=2)
    assert run_now(store.get_expired_sessions(bench.clock(), limit=5)).items == (fork.id,)
    run_now(store.delete_session(fork.id, expired_before=bench.clock()))
    assert bench.rows(fork.id) == []


@pytest.mark.parametrize("step", [0, 2, WRITES - 1])
def test_fork_survives_a_lost_reply(bench: Bench, store: StorageAdapter, proxy: DynamoDBProxy, step: int) -> None:
    source = bench.create(store)
    bench.append(store, source, 12)
    fork = fork_of(bench, source)
    proxy.rules["TransactWriteItems"] = [*[Call.forward] * step, lose_reply]
    faulty = bench.open(endpoint_url=proxy.url, transaction_items=SMALL)
    assert run_now(faulty.fork_session(source.id, fork)) == run_now(store.get_session(fork.id))
    assert stored_contents(store, fork.id) == stored_contents(store, source.id)


@pytest.mark.parametrize("step", [1, WRITES - 1])
def test_fork_that_a_create_overtakes_leaves_the_new_session_alone(
    bench: Bench, store: StorageAdapter, proxy: DynamoDBProxy, step: int
) -> None:
    source = bench.create(store)
    bench.append(store, source, 12)
    fork = fork_of(bench, source)
    other = fork.model_copy(update={"forked_from": None, "creation_token": "another", "user_id": "other"})

    def create_first(call: Call) -> Answer:
        run_now(store.create_session(other))
        return call.forward()

    proxy.rules["TransactWriteItems"] = [*[Call.forward] * step, create_first]
    slow = bench.open(endpoint_url=proxy.url, transaction_items=SMALL, read_timeout=30)
    with pytest.raises(SessionExistsError):
        run_now(slow.fork_session(source.id, fork))
    assert run_now(store.get_session(fork.id)) == other
    assert stored_contents(store, fork.id) == []


def test_fork_of_a_source_that_is_deleted_meanwhile_is_not_made(
    bench: Bench, store: StorageAdapter, proxy: DynamoDBProxy
) -> None:
    source = bench.create(store)
    bench.append(store, source, 3)
    fork = fork_of(bench, source)

    def delete_first(call: Call) -> Answer:
        run_now(store.delete_session(source.id))
        return call.forward()

    proxy.rules["TransactWriteItems"] = [delete_first]
    with pytest.raises(SessionNotFoundError):
        run_now(bench.open(endpoint_url=proxy.url, read_timeout=30).fork_session(source.id, fork))
    assert bench.rows(fork.id) == []
    assert bench.rows(source.id) == []
