"""`beside_kit=true`: what the TypeScript kit does to a session here counts at once. Its requests are played."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from session_continuity import (
    MessageQuery,
    Patch,
    SessionClosedError,
    SessionNotFoundError,
    StorageAdapter,
    TokenBudget,
    TokenBudgetExceededError,
)

from ..kit.dynamodb_engines import TRUSTED
from ..kit.dynamodb_proxy import Answer, Call, DynamoDBProxy
from ..kit.modes import MODES
from .bench import Bench
from .kit_rows import (
    CREATED,
    PLAIN_ID,
    SESSION,
    kit_appends,
    kit_counts,
    kit_deletes,
    kit_deletes_messages,
    kit_sets,
    message,
    meta,
    seconds,
)

pytestmark = pytest.mark.on(engine=TRUSTED, mode=MODES)


@pytest.fixture
def beside(shared: Bench) -> StorageAdapter:
    """A store that knows that the kit writes too."""
    return shared.open(beside_kit=True)


def test_append_after_a_delete_by_the_kit_is_refused(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    sent = shared.append(beside, session, 2)
    kit_deletes(shared, session.id)
    left = shared.rows(session.id)
    for store in (beside, shared.open(beside_kit=True)):
        with pytest.raises(SessionNotFoundError):
            shared.append(store, session)
        for order in ("asc", "desc"):
            with pytest.raises(SessionNotFoundError):
                shared.run(store.get_messages(session.id, MessageQuery(order=order)))
        with pytest.raises(SessionNotFoundError):
            shared.run(store.get_message(session.id, sent[0].id))
        with pytest.raises(SessionNotFoundError):
            shared.run(store.delete_all_messages(session.id))
    assert shared.rows(session.id) == left


def test_late_message_of_the_kit_is_not_in_the_next_session(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    assert shared.run(beside.delete_session(session.id))
    shared.write_rows([message(3, session.id)])
    shared.clock.advance(seconds=1)
    anew = session.model_copy(update={"created_at": shared.clock(), "last_activity_at": shared.clock()})
    assert shared.run(beside.create_session(anew)) == anew
    assert len(shared.run(beside.get_messages(session.id, MessageQuery()))) == 0


def test_append_obeys_a_status_that_the_kit_sets(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    kit_sets(shared, session.id, status={"S": "completed"})
    with pytest.raises(SessionClosedError):
        shared.append(beside, session)
    kit_sets(shared, session.id, status={"S": "active"})
    assert len(shared.append(beside, session)) == 1


@pytest.mark.parametrize("form", ["number", "text"])
def test_expiry_that_the_kit_moves_is_obeyed_everywhere(shared: Bench, beside: StorageAdapter, form: str) -> None:
    session = shared.create(beside, expires_at=shared.clock() + timedelta(minutes=1))
    [sent] = shared.append(beside, session)
    later = shared.clock() + timedelta(hours=5)
    text = {"S": later.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    kit_sets(shared, session.id, expiresAt=seconds(later) if form == "number" else text)
    shared.clock.advance(minutes=2)
    page = shared.run(beside.get_messages(session.id, MessageQuery(order="desc")))
    assert page.items == (sent,)
    assert shared.run(beside.get_message(session.id, sent.id)) == sent
    assert shared.run(beside.update_message(session.id, sent.id, Patch({"content": "new"}))).content == "new"
    shared.append(beside, session)
    shared.clock.advance(hours=6)
    with pytest.raises(SessionNotFoundError):
        shared.append(beside, session)
    assert session.id in shared.run(beside.get_expired_sessions(shared.clock(), limit=10)).items


def test_hard_limit_counts_what_the_kit_adds_and_sets(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside, token_budget=TokenBudget(max_tokens=50, overflow_strategy="error"))
    shared.append(beside, session, tokens=10)
    kit_sets(shared, session.id, tokenCount={"N": "30"}, messageCount={"N": "1"})
    with pytest.raises(TokenBudgetExceededError):
        shared.append(beside, session, tokens=11)
    budget = {"maxTokens": {"N": "60"}, "reserveTokens": {"N": "0"}, "overflowStrategy": {"S": "error"}}
    kit_sets(shared, session.id, tokenBudget={"M": budget})
    shared.append(beside, session, tokens=11)


def test_update_brings_appends_in_line_with_what_the_kit_set(shared: Bench, store: StorageAdapter) -> None:
    session = shared.create(store)
    shared.append(store, session)
    kit_sets(shared, session.id, status={"S": "completed"})
    shared.append(store, session)  # without beside_kit an append does not look at META
    shared.run(store.update_session(session.id, Patch({"user_id": "u"})))
    with pytest.raises(SessionClosedError):
        shared.append(store, session)


def test_append_beside_the_kit_is_one_request_of_two_more_units(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    with shared.meter.counting() as made:
        shared.append(beside, session)
    assert [request.api for request in made] == ["TransactWriteItems"]
    assert shared.transaction_units(made[0]) == 6


def test_message_of_the_kit_with_an_id_without_a_time_is_found(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    shared.write_rows([message(3, session.id, as_id=PLAIN_ID)])
    assert shared.run(beside.get_message(session.id, PLAIN_ID)) is not None


def test_empty_text_beside_the_kit_is_a_text(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    [sent] = shared.run(beside.append_messages(session.id, [shared.message(session, "")])).messages
    [row] = [row for row in shared.rows(session.id) if row["SK"]["S"].startswith("MSG#")]
    assert row["content"] == {"S": ""}
    assert shared.run(beside.get_message(session.id, sent.id)) == sent


def test_system_message_that_the_kit_adds_is_one_here(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside, created_at=datetime.fromisoformat(CREATED))
    shared.append(beside, session, 2, created_at=datetime.fromisoformat(CREATED))
    added = kit_appends(shared, session.id, 5, role={"S": "system"})
    shared.append(beside, session)
    for store in (beside, shared.open(beside_kit=True)):
        found = shared.run(store.get_conversation(session.id, MessageQuery(order="desc", limit=1)))
        assert found.session.system_message_ids == [added]
        assert [each.id for each in found.system_messages] == [added]
        assert (found.session.message_count, found.session.token_count) == (4, 19)


def test_answer_to_a_message_of_the_kit_comes_after_it_whatever_the_clocks(
    shared: Bench, beside: StorageAdapter
) -> None:
    session = shared.create(beside, created_at=datetime.fromisoformat(CREATED))
    shared.append(beside, session, created_at=datetime.fromisoformat(CREATED))
    question = kit_appends(shared, session.id, 9)
    behind = datetime.fromisoformat(CREATED) + timedelta(seconds=6)  # three seconds behind the kit's clock
    [answer] = shared.append(beside, session, created_at=behind)
    page = shared.run(beside.get_messages(session.id, MessageQuery(order="desc", limit=2)))
    assert [each.id for each in page] == [answer.id, question]


def test_append_after_the_kit_has_written_is_four_requests_once(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside)
    shared.append(beside, session)
    kit_appends(shared, session.id, 5)
    shared.append(beside, session)
    with shared.meter.counting() as made:
        shared.append(beside, session)
    assert [request.api for request in made] == ["TransactWriteItems"]
    kit_appends(shared, session.id, 6)
    with shared.meter.counting() as made:
        shared.append(beside, session)
    # Refused, since META is another; both heads; what is new behind the end, here nothing; then the append.
    assert [request.api for request in made] == ["TransactWriteItems", "BatchGetItem", "Query", "TransactWriteItems"]


def test_removal_of_all_sets_totals_right_that_the_kit_left_wrong(shared: Bench, beside: StorageAdapter) -> None:
    session = shared.create(beside, token_budget=TokenBudget(max_tokens=50, overflow_strategy="error"))
    shared.append(beside, session, 4)
    gone = next(row for row in shared.rows(session.id) if row["SK"]["S"].startswith("MSG#"))
    shared.raw("delete_item", Key={name: gone[name] for name in ("PK", "SK")})
    kit_counts(shared, session.id, -1, -3)  # which does not count below 0
    assert shared.run(beside.delete_all_messages(session.id)) == 3
    for tokens in (50, 1):
        held = shared.run(shared.open(beside_kit=True).get_session(session.id))
        assert held is not None
        assert (held.message_count, held.token_count) == ((0, 0) if tokens == 50 else (1, 50))
        if tokens == 50:
            shared.append(beside, session, tokens=tokens)
    with pytest.raises(TokenBudgetExceededError):
        shared.append(beside, session, tokens=1)
    kit_deletes_messages(shared, session.id)
    assert shared.run(beside.delete_all_messages(session.id)) == 0
    held = shared.run(beside.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (0, 0)


@pytest.mark.on(mode=["blocking"])
def test_message_that_the_kit_counts_while_the_session_gets_its_counters_counts_once(
    shared: Bench, proxy: DynamoDBProxy
) -> None:
    beside = shared.open(beside_kit=True, endpoint_url=proxy.url)
    shared.write_rows([meta(), *[message(second) for second in (1, 2, 3)]])
    shared.write_rows([message(4)])  # put, and not counted yet

    def count(call: Call) -> Answer:
        answer = call.forward()
        kit_counts(shared, SESSION, 1, 10)
        return answer

    proxy.rules["Query"] = [count]
    shared.append(beside, shared.session(id=SESSION), tokens=5)
    held = shared.run(shared.open(beside_kit=True).get_session(SESSION))
    assert held is not None
    assert (held.message_count, held.token_count) == (5, 45)
