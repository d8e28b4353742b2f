"""Replaced tails: what they cost, and what is seen of one that is interrupted in the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from session_continuity import (
    Message,
    MessageQuery,
    Patch,
    Session,
    SessionMetadata,
    StorageAdapter,
    UnavailableError,
    ValidationError,
    run_now,
)

from ..kit.conversations import stored_contents
from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_meter import apis
from ..kit.dynamodb_proxy import Answer, Call, DynamoDBProxy, LoseReplyError, lose_reply
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=["blocking"])

SMALL = 12
"""A limit on transactions with which a tail of a few messages does not fit into one."""


@pytest.mark.parametrize("items", [100, SMALL])
def test_tail_of_every_form_goes_whole_and_its_ids_are_free(bench: Bench, items: int) -> None:
    store = bench.open(transaction_items=items)
    session = bench.create(bench.open())
    first, *old = bench.talk(bench.open(), session)
    batch = [bench.message(session, "new", "system", id="m1"), bench.message(session, "answer")]
    replaced = run_now(store.replace_tail(session.id, first.id, batch, client_ids=["m1"], return_removed=True))
    assert (replaced.removed_count, list(replaced.removed)) == (len(old), old)
    assert stored_contents(bench.open(), session.id) == ["chosen 0", "new", "answer"]
    held = run_now(bench.open().get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count, held.system_message_ids) == (3, 9, ["m1"])
    sorts = sorted(row["SK"]["S"].partition("#")[0] for row in bench.rows(session.id))
    assert sorts == ["META", "MSG", "MSG", "MSG", "MSG$ACTIVITY", "MSGID", "MSGID"]
    assert run_now(bench.open().get_message(session.id, "m2")) is None
    again = bench.message(session, "again", id="m2")
    assert not run_now(store.append_messages(session.id, [again], client_ids=["m2"])).repeated
    with pytest.raises(ValidationError, match="belongs to a message that stays"):
        run_now(store.replace_tail(session.id, "m1", [bench.message(session, id="m1")], client_ids=["m1"]))


def test_tail_of_twenty_by_twenty_is_one_read_and_one_transaction(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    [first] = bench.append(store, session)
    run_now(store.append_messages(session.id, [bench.message(session) for _ in range(20)]))
    batch = [bench.message(session, "new") for _ in range(20)]
    with bench.meter.counting() as made:
        run_now(store.replace_tail(session.id, first.id, batch))
    assert apis(made) == ["Query", "TransactWriteItems"]
    assert len(made[1].params["TransactItems"]) == 2 + 20 + 20
    with bench.meter.counting() as made:
        assert run_now(store.replace_tail(session.id, first.id, batch)).repeated
    assert apis(made) == ["Query"]


def test_twenty_messages_are_deleted_by_one_read_and_one_transaction(bench: Bench, store: StorageAdapter) -> None:
    session = bench.create(store)
    bench.append(store, session, 20)
    with bench.meter.counting() as made:
        assert run_now(store.delete_all_messages(session.id)) == 20
    assert apis(made) == ["Query", "TransactWriteItems"]
    with bench.meter.counting() as made:
        assert run_now(store.delete_all_messages(session.id)) == 0
    assert apis(made) == ["Query"]


def open_dying(bench: Bench, proxy: DynamoDBProxy, step: int) -> StorageAdapter:
    """A store with small transactions, whose write number `step` gets no answer and is not made."""

    def die(_: Call) -> Answer:
        raise LoseReplyError

    proxy.rules["TransactWriteItems"] = [*[Call.forward] * step, die]
    return bench.open(endpoint_url=proxy.url, transaction_items=SMALL, max_attempts=1, retry_deadline=0)


def interrupted(bench: Bench, proxy: DynamoDBProxy, step: int) -> tuple[Session, list[Message]]:
    """A session of which a replacement dies before its write number `step`, and its messages before that."""
    store = bench.open()
    session = bench.create(store)
    sent = bench.append(store, session, 20, tokens=1)
    batch = [bench.message(session, "new", tokens=1)]
    with pytest.raises(UnavailableError):
        run_now(open_dying(bench, proxy, step).replace_tail(session.id, sent[0].id, batch))
    return session, sent


Act = Callable[[StorageAdapter, Session, list[Message]], Any]
NEXT: dict[str, Act] = {
    "ascending": lambda store, session, _: stored_contents(store, session.id),
    "descending": lambda store, session, _: stored_contents(store, session.id, MessageQuery(order="desc", limit=2)),
    "by id": lambda store, session, sent: run_now(store.get_message(session.id, sent[5].id)),
    "conversation": lambda store, session, _: run_now(store.get_conversation(session.id, MessageQuery())),
    "update": lambda store, session, _: run_now(
        store.update_session(session.id, Patch({"metadata": SessionMetadata(title="t")}))
    ),
}


@pytest.mark.parametrize("then", NEXT)
@pytest.mark.parametrize("step", [1, 3])
def test_interrupted_replacement_is_seen_whole_by_every_call(
    bench: Bench, proxy: DynamoDBProxy, step: int, then: str
) -> None:
    session, sent = interrupted(bench, proxy, step)
    other = bench.open()
    found = NEXT[then](other, session, sent)
    assert then != "by id" or found is None
    assert then != "ascending" or found == ["message 0", "new"]
    assert then != "descending" or found == ["new", "message 0"]
    assert stored_contents(other, session.id) == ["message 0", "new"]
    held = run_now(other.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (2, 2)
    rows = bench.rows(session.id)
    assert len(rows) == 4
    assert not any("replacing" in row for row in rows)


def test_replacement_that_did_not_begin_has_changed_nothing(bench: Bench, proxy: DynamoDBProxy) -> None:
    session, sent = interrupted(bench, proxy, 0)
    assert stored_contents(bench.open(), session.id) == [message.content for message in sent]


@pytest.mark.parametrize("what", ["append", "edit", "remove", "delete all", "fork"])
def test_writes_finish_an_interrupted_replacement_first(bench: Bench, proxy: DynamoDBProxy, what: str) -> None:
    session, sent = interrupted(bench, proxy, 2)
    store = bench.open()
    expected = ["message 0", "new"]
    if what == "append":
        bench.append(store, session)
        expected = [*expected, "message 0"]
    elif what == "edit":
        run_now(store.update_message(session.id, sent[0].id, Patch({"content": "edited"})))
        expected = ["edited", "new"]
    elif what == "remove":
        assert not run_now(store.delete_message(session.id, sent[7].id))
    elif what == "delete all":
        assert run_now(store.delete_all_messages(session.id)) == 2
        expected = []
    else:
        session = run_now(store.fork_session(session.id, bench.session(forked_from={"session_id": session.id})))
    assert stored_contents(store, session.id) == expected


@pytest.mark.parametrize(("items", "step"), [(SMALL, 0), (SMALL, 2), (100, 0)])
def test_replacement_survives_a_lost_reply(bench: Bench, proxy: DynamoDBProxy, step: int, items: int) -> None:
    store = bench.open()
    session = bench.create(store)
    sent = bench.append(store, session, 20)
    proxy.rules["TransactWriteItems"] = [*[Call.forward] * step, lose_reply]
    faulty = bench.open(endpoint_url=proxy.url, transaction_items=items)
    batch = [bench.message(session, "new")]
    assert run_now(faulty.replace_tail(session.id, sent[0].id, batch)).removed_count == 19
    assert stored_contents(faulty, session.id) == stored_contents(store, session.id) == ["message 0", "new"]


@pytest.mark.parametrize("step", [1, 2])
def test_interrupted_removal_of_all_is_seen_whole(bench: Bench, proxy: DynamoDBProxy, step: int) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session, 20)
    with pytest.raises(UnavailableError):
        run_now(open_dying(bench, proxy, step).delete_all_messages(session.id))
    assert stored_contents(bench.open(), session.id) == []
    assert run_now(bench.open().delete_all_messages(session.id)) == 0
    assert len(bench.rows(session.id)) == 2


def test_delete_of_a_session_with_an_interrupted_replacement_leaves_nothing(bench: Bench, proxy: DynamoDBProxy) -> None:
    session, _ = interrupted(bench, proxy, 2)
    assert run_now(bench.open().delete_session(session.id))
    assert bench.rows(session.id) == []
