"""Where SQL could mean something else than the contract: odd ids, bounds, namespaces, moved and repeated batches."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_continuity import (
    MessageNotFoundError,
    MessageQuery,
    Patch,
    Session,
    SessionClosedError,
    SessionFilter,
    SessionNotFoundError,
    StorageAdapter,
    ValidationError,
    portable,
    run_now,
)

from ..kit.clocks import START, TickingClock
from ..kit.conversations import EVERYTHING, Speaker, new_session, store_session, stored_contents, stored_messages

if TYPE_CHECKING:
    from .conftest import OpenStore

ODD = ["a\0b", "a", "\0", "'; DROP TABLE sessions; --", "%_*", " a ", "ä🙂", "x" * 256, ":id", "\u00e9", "e\u0301"]


def get(store: StorageAdapter, session_id: str = "s") -> Session:
    session = run_now(store.get_session(session_id))
    assert session is not None
    return session


def test_odd_ids_of_sessions_stay_apart(store: StorageAdapter) -> None:
    for name in ODD:
        run_now(store.create_session(new_session(name, user_id=name, metadata={"tags": [name]})))
    for name in ODD:
        assert get(store, name).id == name
        for filter_ in (SessionFilter(user_id=name), SessionFilter(tags=frozenset({name}))):
            assert [session.id for session in run_now(store.list_sessions(filter_, limit=99))] == [name]
    listed = run_now(store.list_sessions(SessionFilter(), limit=99))
    assert [session.id for session in listed] == sorted(ODD, reverse=True)


def test_odd_ids_of_messages_stay_apart(store: StorageAdapter) -> None:
    run_now(store.create_session(new_session()))
    speaker = Speaker()
    said = [speaker.says(name, id=name, role="system") for name in ODD]
    run_now(store.append_messages("s", said, client_ids=ODD))
    assert stored_messages(store) == said
    assert get(store).system_message_ids == ODD
    for number, message in enumerate(said):
        assert run_now(store.get_message("s", message.id)) == message
        assert stored_contents(store, query=MessageQuery(after_id=message.id)) == ODD[number + 1 :]
        assert stored_contents(store, query=MessageQuery(ids=frozenset({message.id}))) == [message.id]


def test_namespaces_share_a_file_and_nothing_else(open_store: OpenStore) -> None:
    names = ["", "a", "a\0", "b"]
    stores = [open_store(namespace=name) for name in names]
    for store, name in zip(stores, names, strict=True):
        run_now(store.create_session(new_session(user_id=f"in {name}", expires_at=START + timedelta(days=9999))))
        run_now(store.append_messages("s", [Speaker().says(f"in {name}", id="same")]))
    for store, name in zip(stores, names, strict=True):
        assert stored_contents(store) == [f"in {name}"]
        assert [session.user_id for session in run_now(store.list_sessions(SessionFilter(), limit=9))] == [f"in {name}"]
        assert len(run_now(store.get_expired_sessions(START + timedelta(days=9999), limit=9))) == 1
    assert run_now(stores[1].delete_session("s")) is True
    assert [run_now(store.get_session("s")) is None for store in stores] == [False, True, False, False]


def test_time_bounds_exclude_the_moment_itself_also_among_equals(store: StorageAdapter) -> None:
    run_now(store.create_session(new_session()))
    speaker = Speaker()
    offsets = (0, 1, 1, 1, 2, 3)
    said = [speaker.says(str(number)) for number in range(6)]
    times = [START + timedelta(milliseconds=offset) for offset in offsets]
    batch = [message.model_copy(update={"created_at": time}) for message, time in zip(said, times, strict=True)]
    run_now(store.append_messages("s", batch))
    moment = START + timedelta(milliseconds=1)
    assert stored_contents(store, query=MessageQuery(after=moment)) == ["4", "5"]
    assert stored_contents(store, query=MessageQuery(before=moment)) == ["0"]
    within = MessageQuery(after=START, before=START + timedelta(milliseconds=2))
    assert stored_contents(store, query=within) == ["1", "2", "3"]
    assert stored_contents(
        store, query=MessageQuery(after=START - timedelta(days=1), before=START + timedelta(days=1))
    ) == list("012345")
    assert stored_contents(store, query=MessageQuery(after=START + timedelta(days=1))) == []


def test_bounds_between_milliseconds_and_in_other_zones_mean_the_moment(store: StorageAdapter) -> None:
    run_now(store.create_session(new_session()))
    speaker = Speaker()
    run_now(store.append_messages("s", [speaker.says(str(number)) for number in range(1, 4)]))
    between = (START + timedelta(milliseconds=2, microseconds=1)).astimezone(timezone(timedelta(hours=5)))
    assert stored_contents(store, query=MessageQuery(after=between)) == ["3"]
    assert stored_contents(store, query=MessageQuery(before=between)) == ["1", "2"]
    assert stored_contents(store, query=MessageQuery(before=datetime.max.replace(tzinfo=UTC))) == ["1", "2", "3"]
    late, early = START + timedelta(microseconds=1), START - timedelta(microseconds=1)
    for filter_, count in (
        (SessionFilter(created_before=late), 1),
        (SessionFilter(created_before=early), 0),
        (SessionFilter(created_after=early), 1),
        (SessionFilter(created_after=late), 0),
    ):
        assert len(run_now(store.list_sessions(filter_, limit=9))) == count


def test_a_session_body_leaves_out_what_columns_hold(store: StorageAdapter, database: Path) -> None:
    store_session(store, 2)
    run_now(store.update_session("s", Patch(set={"user_id": "u"})))
    with closing(sqlite3.connect(database)) as connection:
        ((body,),) = connection.execute("SELECT body FROM session_bodies").fetchall()
    assert set(json.loads(body)) == {"id", "user_id", "created_at"}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("roles", [None, frozenset({"user"}), frozenset({"user", "tool", "system"}), frozenset()])
@pytest.mark.parametrize("within", [False, True], ids=["whole", "within bounds"])
def test_pages_of_every_size_hold_the_same_messages_in_the_same_order(
    store: StorageAdapter, order: str, roles: frozenset[str] | None, within: bool
) -> None:
    run_now(store.create_session(new_session()))
    speaker = Speaker()
    said = [speaker.says(str(n), role=("user", "assistant", "tool", "system")[n * n % 7 % 4]) for n in range(23)]
    run_now(store.append_messages("s", said))
    bounds = {"after_id": said[3].id, "before_id": said[20].id} if within else {}
    expected = [
        message.content for message in (said[4:20] if within else said) if roles is None or message.role in roles
    ]
    for limit in (1, 2, 5, 22, 23, 24):
        query = MessageQuery(order=order, roles=roles, limit=limit, **bounds)  # type: ignore[arg-type]
        assert stored_contents(store, query=query) == (expected if order == "asc" else expected[::-1])


def test_places_of_deleted_messages_are_not_used_again(store: StorageAdapter) -> None:
    said = store_session(store, 4)
    page = run_now(store.get_messages("s", MessageQuery(limit=3)))
    for message in said[2:]:
        run_now(store.delete_message("s", message.id))
    run_now(store.append_messages("s", [Speaker(clock=TickingClock(START + timedelta(hours=1))).says("new")]))
    following = run_now(store.get_messages("s", MessageQuery(limit=3), cursor=page.next_cursor))
    assert [message.content for message in following] == ["new"]


def test_an_old_first_message_does_not_take_the_last_activity_back(store: StorageAdapter) -> None:
    run_now(store.create_session(new_session()))
    early = Speaker(clock=TickingClock(START - timedelta(hours=1))).says("early")
    assert run_now(store.append_messages("s", [early])).messages == (early,)
    assert get(store).last_activity_at == START


def test_expired_sessions_come_longest_expired_first_page_by_page(store: StorageAdapter) -> None:
    store.clock = lambda: START
    for name, seconds in (("b", 1), ("a", 2), ("c", 1), ("d", 3), ("late", 9)):
        run_now(store.create_session(new_session(name, expires_at=START + timedelta(seconds=seconds))))
    run_now(store.create_session(new_session("never")))
    before, cursor, pages = START + timedelta(seconds=3), None, list[list[str]]()
    while not pages or cursor is not None:
        page = run_now(store.get_expired_sessions(before, limit=2, cursor=cursor))
        pages.append(list(page))
        cursor = page.next_cursor
    assert pages == [["b", "c"], ["a", "d"]]


def test_a_conditional_delete_spares_a_session_that_was_extended(store: StorageAdapter) -> None:
    store.clock = lambda: START
    run_now(store.create_session(new_session("s", expires_at=START + timedelta(seconds=1))))
    run_now(store.create_session(new_session("never")))
    now = START + timedelta(seconds=2)
    run_now(store.update_session("s", Patch(set={"expires_at": START + timedelta(seconds=3)})))
    assert [run_now(store.delete_session(name, expired_before=now)) for name in ("s", "never", "none")] == [False] * 3
    assert run_now(store.delete_session("s", expired_before=START + timedelta(seconds=3))) is True
    assert run_now(store.get_session("s")) is None
    assert run_now(store.get_session("never")) is not None


def test_an_older_batch_moves_up_to_the_last_message_that_is_left(store: StorageAdapter) -> None:
    store_session(store, 0)
    late, early = Speaker(clock=TickingClock(START + timedelta(hours=2))), Speaker(clock=TickingClock(START))
    run_now(store.append_messages("s", [early.says("first")]))
    last = run_now(store.append_messages("s", [late.says("from the future")])).messages[0]
    moved = run_now(store.append_messages("s", [early.says("behind")])).messages[0]
    assert moved.created_at >= last.created_at
    run_now(store.delete_message("s", moved.id))
    run_now(store.delete_message("s", last.id))
    own = early.says("the future is deleted")
    assert run_now(store.append_messages("s", [own])).messages == (own,)
    run_now(store.delete_all_messages("s"))
    earliest = Speaker(clock=TickingClock(START - timedelta(days=1))).says("all is deleted")
    assert run_now(store.append_messages("s", [earliest])).messages == (earliest,)


def test_a_repeated_batch_changes_nothing_even_when_it_is_old_and_the_session_closed(store: StorageAdapter) -> None:
    speaker = Speaker()
    batch = [speaker.says("one"), speaker.says("two")]
    run_now(store.create_session(new_session()))
    run_now(store.append_messages("s", batch))
    run_now(store.append_messages("s", [Speaker(clock=TickingClock(START + timedelta(hours=1))).says("later")]))
    run_now(store.update_session("s", Patch(set={"status": "completed"})))
    repeated = run_now(store.append_messages("s", batch))
    assert repeated.repeated
    assert repeated.messages == tuple(batch)
    assert stored_contents(store) == ["one", "two", "later"]
    with pytest.raises(SessionClosedError):
        run_now(store.append_messages("s", [speaker.says("new")]))


def test_one_id_twice_in_a_turn_is_refused_whole(store: StorageAdapter) -> None:
    store_session(store, 1)
    speaker = Speaker(clock=TickingClock(START + timedelta(hours=1)))
    with pytest.raises(ValidationError, match="same id"):
        run_now(portable(store).append_messages("s", [speaker.says("a", id="same"), speaker.says("b", id="same")]))
    session = get(store)
    assert (session.message_count, session.token_count, stored_contents(store)) == (1, 1, ["message 0"])


def test_a_session_of_an_expired_one_starts_from_nothing(store: StorageAdapter, database: Path) -> None:
    store.clock = lambda: START
    old = new_session(expires_at=START + timedelta(seconds=1), metadata={"tags": ["old"]})
    run_now(store.create_session(old))
    run_now(store.append_messages("s", [Speaker().says("old", role="system", id="m")]))
    store.clock = lambda: START + timedelta(seconds=1)
    with pytest.raises(SessionNotFoundError):
        run_now(store.get_messages("s", EVERYTHING))
    run_now(store.create_session(new_session(created_at=START + timedelta(seconds=1))))
    assert stored_contents(store) == []
    assert get(store).system_message_ids == []
    assert run_now(store.get_message("s", "m")) is None
    assert run_now(store.list_sessions(SessionFilter(tags=frozenset({"old"})), limit=9)).items == ()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchall() == [(0,)]


def test_updated_tags_are_found_and_old_ones_are_not(store: StorageAdapter) -> None:
    run_now(store.create_session(new_session(metadata={"tags": ["old", "both", "both"]})))
    changed = new_session(metadata={"tags": ["both", "new"]}).metadata
    run_now(store.update_session("s", Patch(set={"metadata": changed})))

    def found(*tags: str) -> int:
        return len(run_now(store.list_sessions(SessionFilter(tags=frozenset(tags)), limit=9)))

    assert (found("old"), found("both"), found("new"), found("old", "new"), found("none")) == (0, 1, 1, 1, 0)


def test_an_edit_of_role_and_tokens_moves_every_total_and_index(store: StorageAdapter) -> None:
    said = store_session(store, 3)
    run_now(store.update_message("s", said[1].id, Patch(set={"role": "system", "token_count": 40})))
    session = get(store)
    assert (session.token_count, session.system_message_ids) == (42, [said[1].id])
    assert stored_contents(store, query=MessageQuery(roles=frozenset({"system"}))) == ["message 1"]
    assert stored_contents(store, query=MessageQuery(roles=frozenset({"user"}))) == ["message 0", "message 2"]
    run_now(store.update_message("s", said[1].id, Patch(set={"role": "user"}, clear=frozenset({"token_count"}))))
    session = get(store)
    assert (session.token_count, session.system_message_ids) == (2, [])


def test_a_bound_that_is_missing_is_told_from_an_empty_answer(store: StorageAdapter) -> None:
    said = store_session(store, 2)
    assert stored_contents(store, query=MessageQuery(after_id=said[1].id)) == []
    for query in (
        MessageQuery(after_id="none"),
        MessageQuery(before_id="none"),
        MessageQuery(after_id=said[1].id, before_id="none"),
    ):
        with pytest.raises(MessageNotFoundError):
            run_now(store.get_messages("s", query))


def test_a_large_filter_of_ids_is_answered_and_a_huge_one_refused(store: StorageAdapter) -> None:
    said = store_session(store, 3)
    many = frozenset({said[1].id, *(f"none {number}" for number in range(2_000))})
    assert stored_contents(store, query=MessageQuery(ids=many)) == ["message 1"]
    with pytest.raises(ValidationError, match="at most 10000 ids"):
        run_now(store.get_messages("s", MessageQuery(ids=frozenset(str(number) for number in range(10_001)))))
