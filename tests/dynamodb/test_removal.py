"""Deletes that meet others: each ends whole, and none harms a session that was made anew under its id."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from session_continuity import MessageQuery, Session, run_now
from session_continuity_dynamodb import DynamoDBStorage
from session_continuity_dynamodb.bodies import message_item
from session_continuity_dynamodb.keys import Keys

from .bench import Bench
from .proxy import Call, Proxy, Rule, between


@pytest.fixture
def proxy(quick: Bench) -> Iterator[Proxy]:
    with between(quick.engine.url) as held:
        yield held


class Stop:
    """A place on the wire where one request waits until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._may_go = threading.Event()

    def before(self, call: Call) -> tuple[int, dict[str, str], bytes]:
        self._wait()
        return call.forward()

    def after(self, call: Call) -> tuple[int, dict[str, str], bytes]:
        answer = call.forward()
        self._wait()
        return answer

    def _wait(self) -> None:
        self._reached.set()
        assert self._may_go.wait(30)

    def until_reached(self) -> None:
        assert self._reached.wait(30)

    def release(self) -> None:
        self._may_go.set()


def filled(bench: Bench, store: DynamoDBStorage, session: Session) -> list[str]:
    """The session, made, with messages whose ids their caller chose and others; their contents."""
    run_now(store.create_session(session))
    chosen = [bench.message(session, f"chosen {n}", id=f"m{n}", created_at=session.created_at) for n in range(3)]
    run_now(store.append_messages(session.id, chosen, chosen_ids={message.id for message in chosen}))
    minted = run_now(store.append_messages(session.id, [bench.message(session, "minted")])).messages
    return [str(message.content) for message in [*chosen, *minted]]


def rules(where: str, stop: Stop) -> dict[str, list[Rule]]:
    return {
        "before it lists": {"Query": [stop.before]},
        "after it listed": {"Query": [stop.after]},
        "after it looked at its tombstone": {"GetItem": [stop.after]},
        "before it removes minted ids": {"BatchWriteItem": [stop.before]},
        "before it removes chosen ids": {"TransactWriteItems": [Call.forward, stop.before]},
        "before it removes the heads": {"TransactWriteItems": [Call.forward, Call.forward, stop.before]},
    }[where]


@pytest.mark.parametrize(
    "where",
    [
        "before it lists",
        "after it listed",
        "after it looked at its tombstone",
        "before it removes minted ids",
        "before it removes chosen ids",
        "before it removes the heads",
    ],
)
def test_delete_that_was_overtaken_leaves_the_new_session_whole(quick: Bench, proxy: Proxy, where: str) -> None:
    slow = quick.open(endpoint_url=proxy.url, read_timeout=60)
    store = quick.open()
    session = quick.session()
    filled(quick, store, session)
    stop = Stop()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules |= rules(where, stop)
        deleted = thread.submit(run_now, slow.delete_session(session.id))
        try:
            stop.until_reached()
            assert run_now(store.delete_session(session.id))
            assert quick.rows(session.id) == []
            contents = filled(quick, store, session)
        finally:
            stop.release()
        assert deleted.result()
    page = run_now(store.get_messages(session.id, MessageQuery()))
    assert [message.content for message in page] == contents
    held = run_now(quick.open().get_message(session.id, "m1"))
    assert held is not None
    assert held.content == "chosen 1"
    found = run_now(store.get_session(session.id))
    assert found is not None
    assert found.message_count == len(contents)


def test_delete_of_nothing_that_meets_a_create_takes_all_of_it_or_nothing(quick: Bench, proxy: Proxy) -> None:
    slow = quick.open(endpoint_url=proxy.url, read_timeout=60)
    store = quick.open()
    session = quick.session()
    stop = Stop()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["BatchGetItem"] = [stop.after]
        deleted = thread.submit(run_now, slow.delete_session(session.id))
        try:
            stop.until_reached()
            filled(quick, store, session)
        finally:
            stop.release()
        assert deleted.result()
    assert quick.rows(session.id) == []


def test_rows_without_a_head_are_removed_behind_a_tombstone_of_their_own(bench: Bench) -> None:
    store = bench.open()
    partition = {"PK": {"S": f"{bench.prefix}SESSION#lost"}}
    bench.write_rows([{**partition, "SK": {"S": sort}} for sort in ("MSG#1", "MSGID#m", "EXPIRY", "OTHER")])
    assert not bench.run(store.delete_session("lost"))
    assert bench.rows("lost") == []


def test_delete_ends_although_the_service_removes_the_session_meanwhile(quick: Bench, proxy: Proxy) -> None:
    slow = quick.open(endpoint_url=proxy.url, read_timeout=60)
    store = quick.open()
    session = quick.session(expires_at=quick.clock() + timedelta(hours=1))
    filled(quick, store, session)
    stop = Stop()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["Query"] = [stop.before]
        deleted = thread.submit(run_now, slow.delete_session(session.id))
        try:
            stop.until_reached()
            [meta] = [row for row in quick.rows(session.id) if row["SK"]["S"] == "META"]
            assert "ttl" not in meta
            quick.raw("delete_item", Key={"PK": meta["PK"], "SK": meta["SK"]})
        finally:
            stop.release()
        assert deleted.result()
    assert quick.rows(session.id) == []


def test_delete_has_at_least_four_batches_on_their_way(bench: Bench) -> None:
    together = threading.Barrier(4)

    def meet(call: Call) -> tuple[int, dict[str, str], bytes]:
        together.wait(30)
        return call.forward()

    with between(bench.engine.url) as proxy:
        store = bench.open(endpoint_url=proxy.url, read_timeout=60)
        session = bench.create(store)
        keys = Keys(bench.namespace)
        messages = [bench.message(session) for _ in range(200)]
        bench.write_rows([message_item(keys, each, own_id=False, compression=None) for each in messages])
        proxy.rules["BatchWriteItem"] = [meet] * 4
        assert bench.run(store.delete_session(session.id))
        assert proxy.seen.count("BatchWriteItem") == 8
    assert bench.rows(session.id) == []
