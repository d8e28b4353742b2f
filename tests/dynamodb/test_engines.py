"""The same life of sessions on every engine, in both modes: what the engines do differently must not show."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    ConcurrencyError,
    MessageNotFoundError,
    MessageQuery,
    Patch,
    SessionClosedError,
    SessionExistsError,
    SessionFilter,
    SessionMetadata,
    SessionNotFoundError,
    StorageError,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
)

from ..kit.dynamodb_engines import EVERY_ENGINE, TRUSTED
from ..kit.modes import MODES
from .bench import Bench

pytestmark = pytest.mark.on(engine=EVERY_ENGINE, mode=MODES)


def test_conversation_lives_through_every_operation(bench: Bench) -> None:
    store = bench.open(listing="exact")
    session = bench.create(store, user_id="u", active_agent_id="a", metadata=SessionMetadata(tags=["t"]))
    first = bench.message(session, "", "system", id="mine")
    assert bench.run(store.append_messages(session.id, [first], client_ids={"mine"})).messages == (first,)
    assert bench.run(store.append_messages(session.id, [first], client_ids={"mine"})).repeated
    rest = bench.append(store, session, 4, role="assistant")
    everything = [first, *rest]
    for order, expected in (("asc", everything), ("desc", everything[::-1])):
        query = MessageQuery(order=order, limit=2)
        found, cursor = [], None
        while True:
            page = bench.run(store.get_messages(session.id, query, cursor=cursor))
            found += page
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == expected
    assert bench.run(store.get_messages(session.id, MessageQuery(roles=frozenset({"system"})))).items == (first,)
    later = bench.run(store.get_messages(session.id, MessageQuery(after_id="mine", before_id=rest[-1].id)))
    assert list(later) == rest[:-1]
    with pytest.raises(MessageNotFoundError):
        bench.run(store.get_messages(session.id, MessageQuery(after_id="nothing")))
    edited = bench.run(store.update_message(session.id, "mine", Patch({"content": "be kind", "token_count": 5})))
    assert bench.run(store.get_message(session.id, "mine")) == edited
    assert bench.run(store.delete_message(session.id, rest[0].id))
    assert not bench.run(store.delete_message(session.id, rest[0].id))
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count, held.system_message_ids) == (4, 5 + 9, ["mine"])
    assert bench.run(store.list_sessions(SessionFilter(user_id="u", tags=frozenset({"t"})), limit=5)).items == (held,)
    assert bench.run(store.list_sessions(SessionFilter(active_agent_id="a"), limit=5)).items == (held,)
    assert bench.run(store.delete_all_messages(session.id)) == 4
    assert bench.run(store.delete_session(session.id))
    assert bench.rows(session.id) == []


def test_updates_of_one_version_exclude_each_other(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, user_id="u")
    changed = bench.run(store.update_session(session.id, Patch({"active_agent_id": "a"}), expected_version=1))
    with pytest.raises(ConcurrencyError) as raised:
        bench.run(store.update_session(session.id, Patch({"active_agent_id": "b"}), expected_version=1))
    assert (raised.value.actual, raised.value.current) == (2, changed)
    cleared = bench.run(store.update_session(session.id, Patch(clear=frozenset({"user_id", "active_agent_id"}))))
    assert (cleared.version, cleared.user_id, cleared.active_agent_id) == (3, None, None)
    assert not bench.run(store.list_sessions(SessionFilter(user_id="u"), limit=5))


def test_gate_shuts_and_opens(bench: Bench) -> None:
    store = bench.open()
    budget = TokenBudget(max_tokens=10, overflow_strategy="error")
    session = bench.create(store, token_budget=budget)
    bench.append(store, session, tokens=8)
    with pytest.raises(TokenBudgetExceededError) as raised:
        bench.append(store, session, tokens=3)
    assert (raised.value.limit, raised.value.used, raised.value.requested) == (10, 8, 3)
    wider = TokenBudget(max_tokens=11, overflow_strategy="error")
    bench.run(store.update_session(session.id, Patch({"token_budget": wider})))
    bench.append(store, session, tokens=3)
    bench.run(store.update_session(session.id, Patch({"status": "completed"}, frozenset({"token_budget"}))))
    with pytest.raises(SessionClosedError):
        bench.append(store, session, tokens=100)
    bench.run(store.update_session(session.id, Patch({"status": "active"})))
    bench.append(store, session, tokens=100)


def test_expired_session_is_gone_until_it_is_cleaned_up(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, user_id="u", expires_at=bench.clock() + timedelta(minutes=90))
    bench.append(store, session, 2)
    bench.clock.advance(minutes=60)
    assert bench.run(store.get_expired_sessions(bench.clock(), limit=5)).items == ()
    moved = Patch({"expires_at": bench.clock() + timedelta(hours=5)})
    bench.run(store.update_session(session.id, moved))
    bench.clock.advance(hours=5)
    calls: list[Any] = [
        lambda: store.append_messages(session.id, [bench.message(session)]),
        lambda: store.get_messages(session.id, MessageQuery()),
        lambda: store.get_message(session.id, "any"),
        lambda: store.update_session(session.id, Patch({"user_id": "x"})),
        lambda: store.delete_all_messages(session.id),
    ]
    for call in calls:
        with pytest.raises(SessionNotFoundError):
            bench.run(call())
    assert bench.run(store.get_session(session.id)) is None
    assert not bench.run(store.list_sessions(SessionFilter(user_id="u"), limit=5))
    assert not bench.run(store.delete_session(session.id, expired_before=bench.clock() - timedelta(seconds=1)))
    assert bench.run(store.get_expired_sessions(bench.clock(), limit=5)).items == (session.id,)
    assert bench.run(store.delete_session(session.id, expired_before=bench.clock()))
    assert bench.rows(session.id) == []
    assert bench.run(store.get_expired_sessions(bench.clock(), limit=5)).items == ()


def test_session_is_made_anew_over_an_expired_one(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, expires_at=bench.clock() + timedelta(hours=1))
    bench.append(store, session, 2)
    with pytest.raises(SessionExistsError):
        bench.run(store.create_session(bench.session(id=session.id, user_id="other")))
    bench.clock.advance(hours=1)
    anew = bench.create(store, id=session.id)
    assert bench.run(store.get_session(session.id)) == anew
    assert not bench.run(store.get_messages(session.id, MessageQuery()))


def test_turn_with_one_id_twice_is_refused(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    for message in (bench.message(session, "a"), bench.message(session, "a", id="mine")):
        other = message.model_copy(update={"content": "b"})
        chosen = {"mine"} if message.id == "mine" else set()
        with pytest.raises(ValidationError, match="two messages of the batch have the same id"):
            bench.run(store.append_messages(session.id, [message, other], client_ids=chosen))
    assert bench.run(store.get_messages(session.id, MessageQuery())).items == ()


def test_message_with_a_compressed_body_is_read_by_a_store_without_the_option(bench: Bench) -> None:
    packing = bench.open(compression="zlib")
    session = bench.create(packing)
    sent = bench.message(session, "word " * 100_000)
    bench.run(packing.append_messages(session.id, [sent]))
    assert bench.run(bench.open().get_message(session.id, sent.id)) == sent


def test_cursor_of_another_query_is_refused(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store, user_id="u")
    bench.append(store, session, 3)
    cursor = bench.run(store.get_messages(session.id, MessageQuery(limit=1))).next_cursor
    with pytest.raises(ValidationError):
        bench.run(store.get_messages(session.id, MessageQuery(order="desc", limit=1), cursor=cursor))
    with pytest.raises(ValidationError):
        bench.run(store.list_sessions(SessionFilter(user_id="u"), limit=1, cursor=cursor))


@pytest.mark.on(engine=TRUSTED, mode=["blocking"])
def test_300_fat_sessions_are_listed_page_by_page(bench: Bench) -> None:
    store = bench.open()
    fat = SessionMetadata(custom={"notes": "x" * 5000})
    wanted: list[str] = []
    for number in range(300):
        status = ("active", "paused", "completed")[number % 3]
        wanted.append(bench.create(store, user_id="fat", active_agent_id="fat", status=status, metadata=fat).id)
        bench.clock.advance(milliseconds=1)
    for filter in (SessionFilter(user_id="fat"), SessionFilter(active_agent_id="fat")):
        found: list[str] = []
        cursor = None
        while True:
            page = bench.run(store.list_sessions(filter, limit=70, cursor=cursor))
            found += [session.id for session in page]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == wanted[::-1]
    everybody = bench.run(store.list_sessions(SessionFilter(), limit=1000))
    assert [session.id for session in everybody] == wanted[::-1]


@pytest.mark.on(engine=TRUSTED, mode=["blocking"])
def test_session_that_changes_its_status_between_pages_is_met_once(bench: Bench) -> None:
    store = bench.open()
    sessions = []
    for _ in range(8):
        sessions.append(bench.create(store, active_agent_id="moving"))
        bench.clock.advance(seconds=1)
    page = bench.run(store.list_sessions(SessionFilter(active_agent_id="moving"), limit=4))
    for session in (sessions[1], sessions[6]):
        bench.run(store.update_session(session.id, Patch({"status": "paused"})))
    rest = bench.run(store.list_sessions(SessionFilter(active_agent_id="moving"), limit=10, cursor=page.next_cursor))
    assert [session.id for session in (*page, *rest)] == [session.id for session in reversed(sessions)]


@pytest.mark.on(engine=TRUSTED, mode=["blocking"])
def test_expired_sessions_are_removed_page_by_page_without_a_scan(bench: Bench) -> None:
    store = bench.open()
    made = [
        bench.create(store, expires_at=bench.clock() + timedelta(minutes=10 * number)).id for number in range(1, 31)
    ]
    bench.clock.advance(minutes=250)
    removed: list[str] = []
    with bench.meter.counting() as requests:
        while page := bench.run(store.get_expired_sessions(bench.clock(), limit=7)):
            for session_id in page:
                assert bench.run(store.delete_session(session_id, expired_before=bench.clock()))
                removed.append(session_id)
    assert sorted(removed) == sorted(made[:25])
    assert "Scan" not in {request.api for request in requests}


@pytest.mark.on(engine=TRUSTED)
def test_parallel_appends_of_one_store_lose_nothing(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    turns = [[bench.message(session, str(number))] for number in range(25)]
    outcomes = bench.run_together(*[lambda turn=turn: store.append_messages(session.id, turn) for turn in turns])
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    found = bench.run(store.get_messages(session.id, MessageQuery()))
    assert sorted(int(str(message.content)) for message in found) == list(range(25))
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.message_count, held.token_count) == (25, 75)


@pytest.mark.on(engine=TRUSTED)
def test_messages_appended_while_all_are_deleted_stay(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    bench.append(store, session, 30)
    late = [bench.message(session, f"late {number}") for number in range(5)]
    outcomes = bench.run_together(
        lambda: store.delete_all_messages(session.id),
        *[lambda message=message: store.append_messages(session.id, [message]) for message in late],
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    found = bench.run(store.get_messages(session.id, MessageQuery()))
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert isinstance(outcomes[0], int)
    assert outcomes[0] + len(found) == 35
    assert (held.message_count, held.token_count) == (len(found), 3 * len(found))
    assert {message.content for message in found} <= {message.content for message in late}


def test_append_that_is_repeated_leaves_its_chosen_id_taken(bench: Bench) -> None:
    store = bench.open()
    session = bench.create(store)
    first = bench.message(session, "first", id="mine")
    for _ in range(3):
        bench.run(store.append_messages(session.id, [first], client_ids={"mine"}))
    other = bench.message(session, "other", id="mine", created_at=bench.clock() + timedelta(seconds=1))
    with pytest.raises(ValidationError, match="another message"):
        bench.run(store.append_messages(session.id, [other], client_ids={"mine"}))
    assert [message.content for message in bench.run(store.get_messages(session.id, MessageQuery()))] == ["first"]


@pytest.mark.on(engine=TRUSTED)
def test_cursor_of_expired_sessions_goes_on_at_an_earlier_time(bench: Bench) -> None:
    store = bench.open()
    for hours in (1, 2, 3):
        bench.create(store, id=f"after-{hours}", expires_at=bench.clock() + timedelta(hours=hours))
    bench.clock.advance(hours=5)
    page = bench.run(store.get_expired_sessions(bench.clock(), limit=2))
    assert page.items == ("after-1", "after-2")
    earlier = bench.clock() - timedelta(hours=4)
    assert bench.run(store.get_expired_sessions(earlier, limit=2, cursor=page.next_cursor)).items == ()
    assert bench.run(store.get_expired_sessions(bench.clock(), limit=2, cursor=page.next_cursor)).items == ("after-3",)


@pytest.mark.on(engine=TRUSTED)
def test_session_that_outgrows_an_item_is_refused_with_a_reason(bench: Bench) -> None:
    store = bench.open()
    serial = bench.open(append="serial")  # it has no rows, so that the item has to list one more
    session = bench.create(store)
    large = SessionMetadata(custom={"notes": "x" * 500_000})
    places = [f"2036-03-01T11:00:00.000Z#{number:036}" for number in range(6708)]
    key = {"PK": {"S": f"{bench.prefix}SESSION#{session.id}"}, "SK": {"S": "MSG$ACTIVITY"}}
    stated = {"Key": key, "UpdateExpression": "SET systemIds = :1", "ExpressionAttributeValues": {":1": {"SS": places}}}
    bench.raw("update_item", **stated)
    rule = bench.message(session, "s", "system", id="x" * 250)
    too_large: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: store.create_session(bench.session(metadata=large)),
        lambda: store.update_session(session.id, Patch({"metadata": large})),
        lambda: store.update_session(session.id, Patch({"metadata": large, "status": "paused"})),
        lambda: serial.append_messages(session.id, [rule], client_ids=[rule.id]),
    ]
    for refused in too_large:
        with pytest.raises(StorageError, match=r"over 400 KB: the session .* or the list of its system messages"):
            bench.run(refused())
    held = bench.run(store.get_session(session.id))
    assert held is not None
    assert (held.version, held.message_count) == (1, 0)
