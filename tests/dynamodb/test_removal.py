"""Deletes that meet others: each ends whole, and none harms a session that was made anew under its id."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from session_continuity import MessageQuery, Session, StorageAdapter, run_now
from session_continuity_dynamodb.items.keys import Keys

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_proxy import Call, DynamoDBProxy, Pause, Rule, proxy_to
from ..kit.modes import MODES
from .bench import Bench, item_of

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])


def filled(bench: Bench, store: StorageAdapter, session: Session) -> list[str]:
    """The session, made, with messages whose ids their caller chose and others; their contents."""
    run_now(store.create_session(session))
    chosen = [bench.message(session, f"chosen {n}", id=f"m{n}", created_at=session.created_at) for n in range(3)]
    run_now(store.append_messages(session.id, chosen, client_ids={message.id for message in chosen}))
    minted = run_now(store.append_messages(session.id, [bench.message(session, "minted")])).messages
    return [str(message.content) for message in [*chosen, *minted]]


def rules(where: str, pause: Pause) -> dict[str, list[Rule]]:
    return {
        "before it lists": {"Query": [pause.before]},
        "after it listed": {"Query": [pause.after]},
        "after it looked at its tombstone": {"GetItem": [pause.after]},
        "before it removes minted ids": {"BatchWriteItem": [pause.before]},
        "before it removes chosen ids": {"TransactWriteItems": [Call.forward, pause.before]},
        "before it removes the heads": {"TransactWriteItems": [Call.forward, Call.forward, pause.before]},
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
def test_delete_that_was_overtaken_leaves_the_new_session_whole(bench: Bench, proxy: DynamoDBProxy, where: str) -> None:
    slow = bench.open(endpoint_url=proxy.url, read_timeout=60)
    store = bench.open()
    session = bench.session()
    filled(bench, store, session)
    pause = Pause()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules |= rules(where, pause)
        deleted = thread.submit(run_now, slow.delete_session(session.id))
        try:
            pause.wait()
            assert not run_now(store.delete_session(session.id))  # the other one began it
            assert bench.rows(session.id) == []
            contents = filled(bench, store, session)
        finally:
            pause.release()
        assert deleted.result()
    page = run_now(store.get_messages(session.id, MessageQuery()))
    assert [message.content for message in page] == contents
    held = run_now(bench.open().get_message(session.id, "m1"))
    assert held is not None
    assert held.content == "chosen 1"
    found = run_now(store.get_session(session.id))
    assert found is not None
    assert found.message_count == len(contents)


def test_delete_of_nothing_that_meets_a_create_takes_all_of_it_or_nothing(bench: Bench, proxy: DynamoDBProxy) -> None:
    slow = bench.open(endpoint_url=proxy.url, read_timeout=60)
    store = bench.open()
    session = bench.session()
    pause = Pause()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["BatchGetItem"] = [pause.after]
        deleted = thread.submit(run_now, slow.delete_session(session.id))
        try:
            pause.wait()
            filled(bench, store, session)
        finally:
            pause.release()
        assert deleted.result()
    assert bench.rows(session.id) == []


@pytest.mark.on(mode=MODES)
def test_rows_without_a_head_are_removed_behind_a_tombstone_of_their_own(bench: Bench) -> None:
    store = bench.open()
    partition = {"PK": {"S": f"{bench.prefix}SESSION#lost"}}
    bench.write_rows([{**partition, "SK": {"S": sort}} for sort in ("MSG#1", "MSGID#m", "EXPIRY", "OTHER")])
    assert not bench.run(store.delete_session("lost"))
    assert bench.rows("lost") == []


def test_delete_ends_although_the_service_removes_the_session_meanwhile(bench: Bench, proxy: DynamoDBProxy) -> None:
    slow = bench.open(endpoint_url=proxy.url, read_timeout=60)
    store = bench.open()
    session = bench.session(expires_at=bench.clock() + timedelta(hours=1))
    filled(bench, store, session)
    pause = Pause()
    with ThreadPoolExecutor(1) as thread:
        proxy.rules["Query"] = [pause.before]
        deleted = thread.submit(run_now, slow.delete_session(session.id))
        try:
            pause.wait()
            [meta] = [row for row in bench.rows(session.id) if row["SK"]["S"] == "META"]
            assert "ttl" not in meta
            bench.raw("delete_item", Key={"PK": meta["PK"], "SK": meta["SK"]})
        finally:
            pause.release()
        assert deleted.result()
    assert bench.rows(session.id) == []


@pytest.mark.on(mode=MODES)
def test_delete_has_at_least_four_batches_on_their_way(bench: Bench) -> None:
    together = threading.Barrier(4)

    def meet(call: Call) -> tuple[int, dict[str, str], bytes]:
        together.wait(30)
        return call.forward()

    with proxy_to(bench.engine.url) as proxy:
        store = bench.open(endpoint_url=proxy.url, read_timeout=60)
        session = bench.create(store)
        keys = Keys(bench.namespace)
        messages = [bench.message(session) for _ in range(200)]
        bench.write_rows([item_of(keys, each, own_id=False, compression=None) for each in messages])
        proxy.rules["BatchWriteItem"] = [meet] * 4
        assert bench.run(store.delete_session(session.id))
        assert proxy.seen.count("BatchWriteItem") == 8
    assert bench.rows(session.id) == []
