"""A batch and what comes with it: a change of the session, expectations, a new session, messages that overlap."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from session_continuity import (
    ConcurrencyError,
    ConversationChangedError,
    MessageAdded,
    SessionCreated,
    SessionFields,
    SessionManager,
    SessionNotFoundError,
    SessionUpdated,
    ValidationError,
)

from ..kit.clocks import START
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, ON_SQLITE

pytestmark = pytest.mark.on(variant=ON_MEMORY + ON_SQLITE)

HELLO = {"role": "user", "content": "hello", "id": "m1"}
ANSWER = {"role": "assistant", "content": "hi", "id": "m2"}


def texts(messages: Any) -> list[Any]:
    return [message.content for message in messages]


def test_a_turn_changes_the_session_in_the_same_request(manager: SessionManager, store: RecordingAdapter) -> None:
    session = manager.create_session()
    events: list[Any] = []
    manager.on(SessionUpdated, events.append)
    update = {"metadata": {"title": "t"}, "user_id": None}
    calls = store.calls_during(lambda: manager.add_messages(session.id, [HELLO, ANSWER], update=update))
    assert calls == ["append_messages"]
    changed = manager.get_session(session.id)
    assert (changed.metadata.title, changed.version, changed.message_count) == ("t", 2, 2)
    assert [(event.fields, event.version) for event in events] == [({"metadata", "user_id"}, None)]


def test_a_turn_is_refused_when_the_session_is_another(manager: SessionManager) -> None:
    session = manager.create_session()
    with pytest.raises(ConcurrencyError):
        manager.add_messages(session.id, [HELLO], expected_version=7)
    with pytest.raises(ConversationChangedError):
        manager.add_messages(session.id, [HELLO], expected_last_id="m0")
    manager.add_messages(session.id, [HELLO], expected_last_id="", expected_version=1)
    manager.add_messages(session.id, [ANSWER], expected_last_id="m1")
    assert texts(manager.get_messages(session.id)) == ["hello", "hi"]


def test_what_is_stored_already_is_skipped(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_messages(session.id, [HELLO])
    events: list[Any] = []
    manager.on(MessageAdded, events.append)
    stored = manager.add_messages(session.id, [HELLO, ANSWER], existing="skip")
    assert texts(stored) == texts(manager.get_messages(session.id)) == ["hello", "hi"]
    manager.add_messages(session.id, [HELLO, ANSWER], existing="skip")
    assert manager.get_session(session.id).message_count == 2


def test_the_first_turn_creates_the_session(manager: SessionManager, store: RecordingAdapter) -> None:
    events: list[Any] = []
    manager.on(SessionCreated, events.append)
    create: SessionFields = {"user_id": "u", "metadata": {"title": "t"}, "ttl": 60}
    for message in (HELLO, ANSWER):
        calls = store.calls_during(lambda m=message: manager.add_messages("s", [m], create=create))  # type: ignore[misc]
        assert [call for call in calls if call != "setup"] == ["append_messages"]
    session = manager.get_session("s")
    assert (session.user_id, session.metadata.title, session.message_count, session.version) == ("u", "t", 2, 1)
    assert session.expires_at == session.created_at + timedelta(seconds=60)
    assert [event.session_id for event in events] == ["s"]


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"create": {"id": "s"}}, "a new session has no id; its fields are "),
        ({"create": ["user_id"]}, "must be a mapping, not list"),
        ({"create": {"user_id": 7}}, "user_id"),
        ({"create": {}, "expected_last_id": ""}, "create cannot be combined"),
        ({"update": {"version": 3}}, "cannot change version"),
        ({"update": {}}, "no change given"),
        ({"existing": "replace"}, "existing must be"),
        ({"expected_version": "1"}, "expected_version"),
    ],
)
def test_wrong_terms_are_refused(manager: SessionManager, terms: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        manager.add_messages("s", [HELLO], **terms)
    with pytest.raises(SessionNotFoundError):
        manager.get_session("s")


def test_an_import_keeps_times(manager: SessionManager) -> None:
    long_ago = START - timedelta(days=400)
    session = manager.create_session(created_at=long_ago)
    assert (session.created_at, session.last_activity_at) == (long_ago, long_ago)
    dated = [
        {"role": "user", "content": "a", "created_at": long_ago + timedelta(hours=1)},
        {"role": "assistant", "content": "b", "created_at": long_ago + timedelta(hours=2), "id": "b"},
        {"role": "user", "content": "c", "created_at": long_ago},
    ]
    stored = manager.add_messages(session.id, dated)
    hours = [(message.created_at - long_ago) / timedelta(hours=1) for message in stored]
    assert hours == [1, 2, 2]
    later = manager.add_message(session.id, "user", "d", created_at=long_ago + timedelta(hours=3))
    assert later.created_at == long_ago + timedelta(hours=3)
    assert manager.get_session(session.id).last_activity_at == later.created_at
    assert texts(manager.get_messages(session.id)) == ["a", "b", "c", "d"]
