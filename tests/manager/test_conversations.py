"""Whole conversations: read with their session, rewound, forked, erased, their metadata merged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    CompressionState,
    ConversationChangedError,
    Erased,
    ForkedFrom,
    MessageDeleted,
    MessageNotFoundError,
    Patch,
    SessionExistsError,
    SessionManager,
    SessionMetadata,
    SessionNotFoundError,
    ValidationError,
)

from ..kit.conversations import new_session
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)


def texts(messages: Any) -> list[Any]:
    return [message.content for message in messages]


def filled(manager: SessionManager, *contents: str, **fields: Any) -> tuple[str, list[str]]:
    """A session with a message for each content, and the ids of the messages."""
    session = manager.create_session(**fields)
    return session.id, [manager.add_message(session.id, "user", content).id for content in contents]


def summarize(manager: SessionManager, session_id: str, message_id: str) -> None:
    """Store a summary that covers the messages up to this one."""
    last = manager.get_message(session_id, message_id)
    state = CompressionState(
        strategy="summarization",
        summary="so far",
        covered_until=last.id,
        covered_through=last.created_at,
        covered_messages=1,
        covered_tokens=1,
        updated_at=last.created_at,
    )
    manager.update_session(session_id, compression_state=state)


def test_session_and_page_come_in_one_call(manager: SessionManager, store: RecordingAdapter) -> None:
    session_id, ids = filled(manager, "a", "b", "c")
    assert store.calls_during(lambda: manager.get_conversation(session_id)) == ["get_conversation"]
    found = manager.get_conversation(session_id, limit=2)
    assert (found.session.message_count, texts(found.messages)) == (3, ["a", "b"])
    assert texts(manager.get_messages(session_id, cursor=found.messages.next_cursor)) == ["c"]
    assert texts(manager.get_conversation(session_id, order="desc", after=ids[0]).messages) == ["c", "b"]


def test_a_conversation_is_rewound(manager: SessionManager) -> None:
    session_id, ids = filled(manager, "a", "b", "c")
    deleted: list[Any] = []
    manager.on(MessageDeleted, deleted.append)
    with pytest.raises(ConversationChangedError):
        manager.rewind(session_id, ids[0], expected_last_id=ids[1])
    with pytest.raises(MessageNotFoundError):
        manager.rewind(session_id, "absent")
    assert texts(manager.rewind(session_id, ids[0], expected_last_id=ids[2])) == ["b", "c"]
    assert manager.rewind(session_id, ids[0]) == []
    assert texts(manager.get_messages(session_id)) == ["a"]
    assert texts(manager.rewind(session_id, None)) == ["a"]
    assert [event.message_id for event in deleted] == [ids[1], ids[2], ids[0]]


def test_the_last_messages_are_popped(manager: SessionManager) -> None:
    session_id, _ = filled(manager, "a", "b", "c", "d")
    assert texts(manager.pop_messages(session_id)) == ["d"]
    assert texts(manager.pop_messages(session_id, 2)) == ["b", "c"]
    assert texts(manager.pop_messages(session_id, 5)) == ["a"]
    assert manager.pop_messages(session_id) == []
    for wrong in (0, -1, 1000, True, "1"):
        with pytest.raises(ValidationError, match="whole number from 1 to 999"):
            manager.pop_messages(session_id, wrong)  # type: ignore[arg-type]  # some are not numbers


def test_the_newest_are_popped_although_others_append(manager: SessionManager, store: RecordingAdapter) -> None:
    session_id, ids = filled(manager, "a", "b")

    async def append(*_: object, **__: object) -> None:
        del store.after["get_messages"]
        stored = await store.inner.get_message(session_id, ids[1])
        assert stored is not None
        late = stored.model_copy(update={"id": "late", "content": "late"})
        await store.inner.append_messages(session_id, [late], client_ids=["late"])

    store.after["get_messages"] = append
    assert texts(manager.pop_messages(session_id)) == ["late"]


def test_a_message_that_somebody_else_popped_meanwhile_is_not_popped_again(
    manager: SessionManager, store: RecordingAdapter
) -> None:
    """The tail is empty already, so a store counts the replacement by nothing as made: another one is popped."""
    session_id, ids = filled(manager, "a", "b", "c", "d")
    others = iter([ids[2], ids[0]])  # one pop of "d", then one of "c" and "b"

    async def pop(*_: object, **__: object) -> None:
        if (other := next(others, None)) is not None:
            await store.inner.replace_tail(session_id, other)

    store.after["get_messages"] = pop
    assert texts(manager.pop_messages(session_id)) == ["a"]
    assert manager.pop_messages(session_id) == []


def test_a_tail_is_replaced(manager: SessionManager) -> None:
    session_id, ids = filled(manager, "a", "b", "c")
    stored = manager.replace_messages_after(session_id, ids[0], [{"role": "user", "content": "B"}])
    assert texts(stored) == ["B"]
    assert texts(manager.get_messages(session_id)) == ["a", "B"]
    with pytest.raises(ConversationChangedError):
        manager.replace_messages_after(session_id, None, [{"role": "user", "content": "x"}], expected_last_id=ids[2])
    manager.replace_messages_after(session_id, None, [{"role": "system", "content": "summary"}])
    assert texts(manager.get_messages(session_id)) == ["summary"]


def test_a_summary_of_removed_messages_is_deleted(manager: SessionManager) -> None:
    session_id, ids = filled(manager, "a", "b", "c", "d")
    summarize(manager, session_id, ids[1])
    manager.rewind(session_id, ids[2])
    assert manager.get_session(session_id).compression_state is not None
    manager.rewind(session_id, ids[0])
    assert manager.get_session(session_id).compression_state is None
    again = {"role": "user", "content": "A", "id": ids[0]}
    summarize(manager, session_id, ids[0])
    manager.replace_messages_after(session_id, None, [again])
    assert manager.get_session(session_id).compression_state is None


def test_a_fork_begins_like_its_source(manager: SessionManager) -> None:
    session_id, ids = filled(manager, "a", "b", "c", user_id="u", metadata={"title": "t"}, participants=["p"])
    fork = manager.fork_session(session_id, at=ids[1])
    assert (fork.user_id, fork.metadata.title, fork.message_count) == ("u", "t", 2)
    assert [participant.id for participant in fork.participants] == ["p"]
    assert fork.forked_from == ForkedFrom(session_id=session_id, message_id=ids[1])
    other = manager.fork_session(session_id, id="other", user_id="v", metadata={"title": "other"})
    assert (other.id, other.user_id, other.metadata.title) == ("other", "v", "other")
    assert other.forked_from == ForkedFrom(session_id=session_id, message_id=ids[2])
    manager.add_message(fork.id, "user", "C")
    assert texts(manager.get_messages(fork.id)) == ["a", "b", "C"]
    assert texts(manager.get_messages(session_id)) == texts(manager.get_messages("other")) == ["a", "b", "c"]
    page = manager.list_forks(session_id)
    assert [(each.session_id, each.message_id) for each in page] == [(fork.id, ids[1]), ("other", ids[2])]
    first = manager.list_forks(session_id, limit=1)
    assert [each.session_id for each in manager.list_forks(session_id, cursor=first.next_cursor)] == ["other"]


def test_a_whole_fork_is_of_what_is_left(manager: SessionManager, store: RecordingAdapter) -> None:
    session_id, ids = filled(manager, "a", "b")

    async def remove(*_: object) -> None:
        del store.after["get_conversation"]
        await store.inner.delete_message(session_id, ids[1])

    store.after["get_conversation"] = remove
    assert texts(manager.get_messages(manager.fork_session(session_id).id)) == ["a"]


def test_a_fork_that_cannot_be_is_refused(manager: SessionManager) -> None:
    session_id, _ = filled(manager, "a")
    with pytest.raises(MessageNotFoundError):
        manager.fork_session(session_id, at="absent")
    with pytest.raises(SessionNotFoundError):
        manager.fork_session("absent")
    with pytest.raises(SessionExistsError):
        manager.fork_session(session_id, id=session_id)
    with pytest.raises(ValidationError, match="a new session has no titel"):
        manager.fork_session(session_id, titel="t")  # type: ignore[call-arg]
    assert len(manager.list_forks(session_id)) == 0


def test_a_fork_keeps_a_summary_of_what_it_has(manager: SessionManager) -> None:
    session_id, ids = filled(manager, "a", "b")
    summarize(manager, session_id, ids[1])
    later = manager.get_message(session_id, ids[1]).created_at + timedelta(seconds=1)
    ids.append(manager.add_message(session_id, "user", "c", created_at=later).id)
    kept = {at: manager.fork_session(session_id, at=at).compression_state for at in (None, ids[0], ids[1], ids[2])}
    assert [at for at, state in kept.items() if state is None] == [ids[0]]


def test_metadata_is_merged_key_by_key(manager: SessionManager) -> None:
    session_id, _ = filled(manager, metadata={"title": "t", "tags": ["x"], "custom": {"a": 1, "b": 2}, "own": 1})
    changed = manager.update_metadata(session_id, title="new", tags=None, custom={"b": None, "c": 3}, own=None)
    expected = {"title": "new", "tags": [], "source": None, "custom": {"a": 1, "c": 3}}
    assert changed.metadata.model_dump() == expected
    assert manager.get_session(session_id).metadata == changed.metadata
    assert manager.update_metadata(session_id, title="new").version == changed.version
    for wrong in ({}, {"tags": "x"}, {"custom": 7}):
        with pytest.raises(ValidationError):
            manager.update_metadata(session_id, **wrong)


def test_merges_do_not_lose_each_other(manager: SessionManager, store: RecordingAdapter) -> None:
    session_id, _ = filled(manager, metadata={"custom": {"a": 1}})

    async def change(*_: object) -> None:
        del store.after["get_session"]
        metadata = SessionMetadata(custom={"b": 2})
        await store.inner.update_session(session_id, Patch({"metadata": metadata}))

    store.after["get_session"] = change
    assert manager.update_metadata(session_id, custom={"c": 3}).metadata.custom == {"b": 2, "c": 3}


def test_a_message_s_metadata_is_merged_key_by_key(manager: SessionManager) -> None:
    session_id, _ = filled(manager)
    metadata = {"annotations": {"a": 1, "b": 2}, "own": 1}
    message = manager.add_message(session_id, "user", "text", metadata=metadata)
    changed = manager.update_message_metadata(
        session_id, message.id, annotations={"b": None, "c": 3}, own=None, new=[1]
    )
    dumped = changed.metadata.model_dump()
    assert dumped == {"tool_calls": [], "tool_results": [], "annotations": {"a": 1, "c": 3}, "new": [1]}
    assert (changed.token_count, changed.content) == (message.token_count, "text")
    for wrong in ({}, {"tool_calls": []}, {"annotations": 7}):
        with pytest.raises(ValidationError):
            manager.update_message_metadata(session_id, message.id, **wrong)
    with pytest.raises(MessageNotFoundError):
        manager.update_message_metadata(session_id, "absent", own=2)


def test_a_user_is_erased(manager: SessionManager) -> None:
    mine = [filled(manager, *contents, user_id="u")[0] for contents in (["a"], ["b", "c"], [])]
    others = filled(manager, "x", user_id="v")[0]
    seen: list[Erased] = []
    receipt = manager.erase_user("u", progress=seen.append)
    assert sorted(each.session_id for each in receipt.sessions) == sorted(mine)
    assert list(receipt.sessions) == seen
    assert (receipt.user_id, receipt.message_count, receipt.left) == ("u", 3, ())
    assert receipt.started_at <= seen[0].at <= receipt.finished_at
    assert [session.id for session in manager.list_sessions(user_id="v")] == [others]
    assert manager.erase_user("u").sessions == ()


def test_an_erasure_says_what_was_created_meanwhile(manager: SessionManager, store: RecordingAdapter) -> None:
    filled(manager, "a", user_id="u")
    late = new_session("late", user_id="u", created_at=store.clock(), last_activity_at=store.clock())

    async def create(*_: object, **__: object) -> None:
        if await store.inner.get_session("late") is None and store.calls[-2:] == ["list_sessions"] * 2:
            await store.inner.create_session(late)

    store.before["list_sessions"] = create  # behind the last removal
    receipt = manager.erase_user("u")
    assert (receipt.left, receipt.is_verified) == (("late",), False)
    del store.before["list_sessions"]
    assert manager.erase_user("u").is_verified


def test_a_session_is_deleted_at_its_version(manager: SessionManager) -> None:
    session_id, _ = filled(manager, "a")
    with pytest.raises(Exception, match="is at version 1, not 2"):
        manager.delete_session(session_id, expected_version=2)
    manager.delete_session(session_id, expected_version=1)


def test_a_manager_shows_what_its_store_can_do(manager: SessionManager, store: RecordingAdapter) -> None:
    assert manager.capabilities == store.capabilities
