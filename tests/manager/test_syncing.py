"""Chats that a client sends whole each time: what is new is appended once, and a changed past is refused."""

from __future__ import annotations

from typing import Any

import pytest

from session_continuity import SessionManager, ValidationError

from ..kit.conversations import contents
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=(*ON_MEMORY, "blocking-sqlite"))


def chat(words: str, *, ids: bool) -> list[dict[str, Any]]:
    """A chat in which user and assistant say these words in turn."""
    roles = ("user", "assistant")
    return [
        {"role": roles[place % 2], "content": word, **({"id": f"{place}-{word}"} if ids else {})}
        for place, word in enumerate(words.split())
    ]


@pytest.mark.parametrize("ids", [True, False])
def test_a_growing_chat_is_stored_once_in_one_append_a_time(
    manager: SessionManager, store: RecordingAdapter, ids: bool
) -> None:
    session = manager.create_session()
    assert manager.sync_messages(session.id, []) == []
    for words, added in (("a b c", 3), ("a b c", 0), ("a b c d e", 2), ("a b", 0)):
        calls = store.calls_during(lambda words=words: manager.sync_messages(session.id, chat(words, ids=ids)))  # type: ignore[misc]
        assert calls.count("append_messages") == bool(added)
        assert calls.count("get_messages") == (2 if words == "a b" else 1)
    assert contents(manager.get_messages(session.id)) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize(
    ("words", "place"), [("a X c d", 1), ("X b c d", 0), ("a b X", 2), ("a b c X e", 3), ("b a c d", 0)]
)
def test_a_changed_past_is_refused_with_its_place(manager: SessionManager, words: str, place: int, ids: bool) -> None:
    session = manager.create_session()
    manager.sync_messages(session.id, chat("a b c d", ids=ids))
    with pytest.raises(ValidationError, match=f"messages.{place}: the chat differs"):
        manager.sync_messages(session.id, chat(words, ids=ids))
    assert contents(manager.get_messages(session.id)) == ["a", "b", "c", "d"]


def test_the_same_id_with_other_words_is_refused(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.sync_messages(session.id, [{"role": "user", "content": "a", "id": "1"}])
    with pytest.raises(ValidationError, match=r"messages\.0"):
        manager.sync_messages(session.id, [{"role": "user", "content": "b", "id": "1"}])


def test_a_chat_may_begin_in_the_middle_and_repeat_itself(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.sync_messages(session.id, chat("ok ok ok ok a b", ids=False))
    manager.sync_messages(session.id, chat("a b ok ok", ids=False))
    assert contents(manager.get_messages(session.id)) == ["ok", "ok", "ok", "ok", "a", "b", "ok", "ok"]


def test_what_only_the_server_stores_is_not_compared(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.add_message(session.id, "system", "secret prompt")
    manager.sync_messages(session.id, chat("a b", ids=False))
    manager.add_message(session.id, "tool", "looked up")
    manager.sync_messages(session.id, chat("a b c", ids=False))
    assert contents(manager.get_messages(session.id)) == ["secret prompt", "a", "b", "looked up", "c"]


@pytest.mark.parametrize("ids", [True, False])
def test_two_who_send_the_same_chat_at_once_store_it_once(variant: Variant, manager: SessionManager, ids: bool) -> None:
    session = manager.create_session()
    sent = chat("a b c d", ids=ids)
    outcomes = variant.run_together(manager, [lambda m: m.sync_messages(session.id, sent)] * 4)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert contents(manager.get_messages(session.id)) == ["a", "b", "c", "d"]
