"""Sessions with many system messages: appends stay at their price, and none is missed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from session_continuity import (
    Message,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    Role,
    Session,
    SessionFilter,
    StorageAdapter,
)
from session_continuity_dynamodb.operations.system_messages import MOST

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_meter import apis
from ..kit.dynamodb_proxy import DynamoDBProxy, lose_reply
from ..kit.modes import MODES
from .bench import Bench

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)

MANY = 3 * MOST


@pytest.fixture
def session(bench: Bench, store: StorageAdapter) -> Session:
    return bench.create(store, user_id="u")


def rules(bench: Bench, store: StorageAdapter, session: Session, count: int = MANY) -> list[Message]:
    """System messages appended one by one."""
    return bench.append(store, session, count, role="system")


def listed(bench: Bench, session: Session) -> list[str]:
    """What another process sees."""
    held = bench.run(bench.open().get_session(session.id))
    assert held is not None
    return held.system_message_ids


def in_item(bench: Bench, session: Session) -> int:
    [activity] = [row for row in bench.rows(session.id) if row["SK"]["S"] == "MSG$ACTIVITY"]
    return len(activity.get("systemIds", {}).get("SS", ()))


def in_rows(bench: Bench, session: Session) -> int:
    return sum(row["SK"]["S"].startswith("SYSTEM#") for row in bench.rows(session.id))


def ids(messages: list[Message]) -> list[str]:
    return [message.id for message in messages]


def cost(bench: Bench, store: StorageAdapter, session: Session, role: Role) -> tuple[list[str], int]:
    """The requests and the units of one append."""
    with bench.meter.counting() as made:
        bench.append(store, session, role=role)
    return [request.api for request in made], bench.transaction_units(made[-1])


def test_appends_keep_their_price_however_many_there_are(bench: Bench, store: StorageAdapter, session: Session) -> None:
    rules(bench, store, session, MOST)
    assert cost(bench, store, session, "user") == (["TransactWriteItems"], 4)
    rules(bench, store, session, MANY)
    assert cost(bench, store, session, "user") == (["TransactWriteItems"], 4)
    assert cost(bench, store, session, "system") == (["TransactWriteItems"], 6)
    assert in_item(bench, session) == MOST


def test_a_process_that_did_not_know_tries_once(bench: Bench, store: StorageAdapter, session: Session) -> None:
    rules(bench, store, session, MOST)
    other = bench.open()
    assert cost(bench, other, session, "system") == (["TransactWriteItems"] * 2, 6)
    assert cost(bench, other, session, "system") == (["TransactWriteItems"], 6)


@pytest.mark.parametrize(("count", "requests"), [(MOST, 1), (MANY, 3)])
def test_session_lists_all_of_them_in_their_order(
    bench: Bench, store: StorageAdapter, session: Session, count: int, requests: int
) -> None:
    sent = rules(bench, store, session, count)
    with bench.meter.counting() as made:
        assert listed(bench, session) == ids(sent)
    assert len(made) == requests


def test_turn_of_more_than_the_item_lists(bench: Bench, session: Session) -> None:
    store = bench.open(transaction_items=12)
    turn = [bench.message(session, "rule", "system") for _ in range(4)]
    for _ in range(3):
        bench.run(store.append_messages(session.id, turn))
        turn = [bench.message(session, "rule", "system") for _ in range(4)]
    assert (in_item(bench, session), in_rows(bench, session)) == (8, 4)
    assert len(listed(bench, session)) == 12


def test_turn_that_leaves_no_room_for_rows_lists_them_in_the_item(bench: Bench, session: Session) -> None:
    store = bench.open(transaction_items=10)
    rules(bench, store, session, MOST)
    most = store.capabilities.max_batch
    assert most == 3
    turn = [bench.message(session, "rule", "system", id=f"rule-{number}") for number in range(most)]
    expiring = Patch({"expires_at": bench.clock() + timedelta(hours=1)})
    bench.run(store.append_messages(session.id, turn, client_ids=ids(turn), patch=expiring))
    assert (in_item(bench, session), in_rows(bench, session)) == (MOST + 3, 0)
    assert listed(bench, session)[-3:] == ids(turn)


def test_conversation_shows_all_of_them(bench: Bench, store: StorageAdapter, session: Session) -> None:
    sent = rules(bench, store, session)
    spoken = bench.append(store, session, 5)
    query = MessageQuery(order="desc", limit=6)
    with bench.meter.counting() as made:
        shown = bench.run(store.get_conversation(session.id, query))
    assert ids(list(shown.messages)) == ids([*reversed(spoken), sent[-1]])
    assert ids(list(shown.system_messages)) == ids(sent[:-1])
    assert shown.session.system_message_ids == ids(sent)
    assert sorted(apis(made)) == ["BatchGetItem", "BatchGetItem", "GetItem", "Query", "Query"]


def test_exact_listings_tell_all_of_them(bench: Bench, store: StorageAdapter, session: Session) -> None:
    sent = rules(bench, store, session)
    few = bench.create(store, user_id="u")
    rule = rules(bench, store, few, 1)
    page = bench.run(bench.open(listing="exact").list_sessions(SessionFilter(user_id="u"), limit=10))
    assert {each.id: each.system_message_ids for each in page} == {session.id: ids(sent), few.id: ids(rule)}


@pytest.mark.parametrize("at", [0, MANY - 1], ids=["in the item", "in a row"])
def test_edits_take_them_off_the_list_and_back(bench: Bench, store: StorageAdapter, session: Session, at: int) -> None:
    sent = rules(bench, store, session)
    bench.run(store.update_message(session.id, sent[at].id, Patch({"role": "user"})))
    assert listed(bench, session) == [sent_id for sent_id in ids(sent) if sent_id != sent[at].id]
    bench.run(store.update_message(session.id, sent[at].id, Patch({"content": "other"})))
    bench.run(store.update_message(session.id, sent[at].id, Patch({"role": "system"})))
    bench.run(store.update_message(session.id, sent[at].id, Patch({"token_count": 9})))
    assert listed(bench, session) == ids(sent)
    assert in_item(bench, session) + in_rows(bench, session) == MANY


def test_edits_list_no_more_in_the_item_than_appends(bench: Bench, store: StorageAdapter, session: Session) -> None:
    sent = bench.append(store, session, MANY)
    with bench.meter.counting() as made:
        for message in sent:
            bench.run(store.update_message(session.id, message.id, Patch({"role": "system"})))
    assert listed(bench, session) == ids(sent)
    assert (in_item(bench, session), in_rows(bench, session)) == (MOST, MANY - MOST)
    assert apis(made) == ["TransactWriteItems"] * (2 * MANY - MOST)


@pytest.mark.parametrize("chosen", [False, True])
def test_deletes_leave_no_row(bench: Bench, store: StorageAdapter, session: Session, chosen: bool) -> None:
    sent = [bench.message(session, "rule", "system", id=f"rule-{n:02}") for n in range(MANY)] if chosen else []
    for message in sent:
        bench.run(store.append_messages(session.id, [message], client_ids=[message.id]))
        bench.clock.advance(seconds=1)
    sent = sent or rules(bench, store, session)
    for message in (sent[0], sent[-1]):
        assert bench.run(store.delete_message(session.id, message.id))
    assert listed(bench, session) == ids(sent[1:-1])
    assert bench.run(store.delete_all_messages(session.id)) == MANY - 2
    assert listed(bench, session) == []
    assert [row["SK"]["S"] for row in bench.rows(session.id)] == ["META", "MSG$ACTIVITY"]


def test_delete_of_the_session_leaves_nothing(bench: Bench, store: StorageAdapter, session: Session) -> None:
    rules(bench, store, session)
    assert bench.run(store.delete_session(session.id))
    assert bench.rows(session.id) == []


def test_lost_replies_list_each_once(bench: Bench, session: Session, proxy: DynamoDBProxy) -> None:
    store = bench.open(endpoint_url=proxy.url)
    sent: list[Message] = []
    for _ in range(MOST + 2):
        proxy.rules["TransactWriteItems"] = [lose_reply]
        sent += rules(bench, store, session, 1)
    assert listed(bench, session) == ids(sent)
    proxy.rules["TransactWriteItems"] = [lose_reply]
    bench.run(store.update_message(session.id, sent[-1].id, Patch({"role": "user"})))
    assert listed(bench, session) == ids(sent[:-1])


def test_writers_at_once_lose_none(bench: Bench, store: StorageAdapter, session: Session) -> None:
    writers = [store, bench.open()]
    turns = [[bench.message(session, f"rule {n}", "system")] for n in range(MANY)]
    outcomes = bench.run_together(
        *(
            lambda writer=writers[n % 2], turn=turn: writer.append_messages(session.id, turn)  # type: ignore[misc]
            for n, turn in enumerate(turns)
        )
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    page = bench.run(store.get_messages(session.id, MessageQuery()))
    assert listed(bench, session) == ids(list(page))
    assert len(page) == MANY
    assert (in_item(bench, session), in_rows(bench, session)) == (MOST, MANY - MOST)


def test_repeated_append_of_a_listed_one_is_known(bench: Bench, store: StorageAdapter, session: Session) -> None:
    rules(bench, store, session)
    rule = bench.message(session, "rule", "system", id="rule")
    first = bench.run(store.append_messages(session.id, [rule], client_ids=["rule"]))
    again = bench.run(bench.open().append_messages(session.id, [rule], client_ids=["rule"]))
    assert again.repeated
    assert again.messages == first.messages
    assert listed(bench, session).count("rule") == 1


def test_items_of_other_versions_may_list_more(bench: Bench, store: StorageAdapter, session: Session) -> None:
    serial = bench.open(append="serial")
    sent = rules(bench, serial, session)
    assert (in_item(bench, session), in_rows(bench, session)) == (MANY, 0)
    sent += rules(bench, store, session, 2)
    assert (in_item(bench, session), in_rows(bench, session)) == (MANY, 2)
    assert bench.run(serial.delete_message(session.id, sent.pop().id))
    assert bench.run(serial.delete_message(session.id, sent.pop(0).id))
    assert listed(bench, session) == ids(sent)
    assert (in_item(bench, session), in_rows(bench, session)) == (MANY - 1, 1)


def test_no_message_is_listed_that_the_totals_have_not_counted(
    bench: Bench, store: StorageAdapter, session: Session
) -> None:
    sent = rules(bench, store, session)
    later = bench.clock() + timedelta(hours=1)
    ahead = {"S": f"SYSTEM#{later.strftime('%Y-%m-%dT%H:%M:%S.000Z')}#m"}
    bench.write_rows([{"PK": {"S": f"{bench.prefix}SESSION#{session.id}"}, "SK": ahead}])
    assert listed(bench, session) == ids(sent)


def test_removed_message_of_the_list_can_not_be_edited(bench: Bench, store: StorageAdapter, session: Session) -> None:
    last = rules(bench, store, session)[-1]
    assert bench.run(bench.open().delete_message(session.id, last.id))
    with pytest.raises(MessageNotFoundError):
        bench.run(store.update_message(session.id, last.id, Patch({"role": "user"})))
    assert in_rows(bench, session) == MANY - MOST - 1
