"""What each method asks of the store: the table of calls, and that the cost does not grow with the conversation."""

# ruff: noqa: ARG005  # the calls of the table all take the same three arguments

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from session_continuity import (
    MessageNotFoundError,
    SessionManager,
    StorageAdapter,
    TokenBudget,
    TokenBudgetExceededError,
    ValidationError,
)

from ..kit.clocks import Clock
from ..kit.recording import RecordingAdapter
from .variants import ON_MEMORY, Variant

pytestmark = pytest.mark.on(variant=ON_MEMORY)

TABLE: dict[str, tuple[Callable[[Any, str, str], object], list[str]]] = {
    "create_session": (lambda m, s, i: m.create_session(user_id="u"), ["create_session"]),
    "get_session": (lambda m, s, i: m.get_session(s), ["get_session"]),
    "list_sessions": (lambda m, s, i: m.list_sessions(user_id="u"), ["list_sessions"]),
    "iter_sessions": (lambda m, s, i: list(m.iter_sessions(user_id="u")), ["list_sessions"]),
    "list_sessions, behind a session": (
        lambda m, s, i: m.list_sessions(after_id=s),
        ["get_session", "list_sessions"],
    ),
    "iter_sessions, behind a session": (
        lambda m, s, i: list(m.iter_sessions(after_id=s)),
        ["get_session", "list_sessions"],
    ),
    "search_messages": (lambda m, s, i: m.search_messages("hello"), ["search_messages"]),
    "recent_sessions": (lambda m, s, i: m.recent_sessions("u"), ["list_sessions"]),
    "update_session": (lambda m, s, i: m.update_session(s, user_id="u"), ["update_session"]),
    "update_session, expecting": (
        lambda m, s, i: m.update_session(s, expected_version=1, user_id="u"),
        ["update_session"],
    ),
    "end_session": (lambda m, s, i: m.end_session(s), ["update_session"]),
    "delete_session": (lambda m, s, i: m.delete_session(s), ["delete_session"]),
    "add_message": (lambda m, s, i: m.add_message(s, role="user", content="x"), ["append_messages"]),
    "add_message, own id": (
        lambda m, s, i: m.add_message(s, role="user", content="x", id="own"),
        ["append_messages"],
    ),
    "add_messages": (
        lambda m, s, i: m.add_messages(s, [{"role": "user", "content": "x"}] * 10),
        ["append_messages"],
    ),
    "get_message": (lambda m, s, i: m.get_message(s, i), ["get_message"]),
    "get_messages": (lambda m, s, i: m.get_messages(s, limit=5), ["get_messages"]),
    "iter_messages": (lambda m, s, i: list(m.iter_messages(s)), ["get_messages"]),
    "update_message, text": (
        lambda m, s, i: m.update_message(s, i, content="y"),
        ["get_message", "update_message", "get_session"],
    ),
    "update_message, counted": (
        lambda m, s, i: m.update_message(s, i, content="y", token_count=1),
        ["update_message", "get_session"],
    ),
    "update_message, role": (
        lambda m, s, i: m.update_message(s, i, role="assistant"),
        ["update_message", "get_session"],
    ),
    "delete_message": (lambda m, s, i: m.delete_message(s, i), ["get_message", "delete_message", "get_session"]),
    "delete_all_messages": (lambda m, s, i: m.delete_all_messages(s), ["delete_all_messages", "get_session"]),
    "get_conversation_context": (
        lambda m, s, i: m.get_conversation_context(s),
        ["get_conversation"],
    ),
    "get_conversation_context_with_stats": (
        lambda m, s, i: m.get_conversation_context_with_stats(s),
        ["get_conversation"],
    ),
    "compress_context, nothing to fold": (
        lambda m, s, i: m.compress_context(s, "sliding_window"),
        ["get_session", "get_messages"],
    ),
    "add_participant": (lambda m, s, i: m.add_participant(s, "p"), ["get_session", "update_session"]),
    "remove_participant": (lambda m, s, i: m.remove_participant(s, "there"), ["get_session", "update_session"]),
    "remove_participant, again": (
        lambda m, s, i: [m.remove_participant(s, "there"), m.remove_participant(s, "there")],
        ["get_session", "update_session", "get_session"],
    ),
    "get_participants": (lambda m, s, i: m.get_participants(s), ["get_session"]),
    "handoff_to_agent": (lambda m, s, i: m.handoff_to_agent(s, "a"), ["get_session", "update_session"]),
    "cleanup_expired_sessions": (lambda m, s, i: m.cleanup_expired_sessions(), ["get_expired_sessions"]),
    "health": (lambda m, s, i: m.health(), ["health"]),
    "on and off": (lambda m, s, i: [m.on("error", print), m.off("error", print)], []),
    "close": (lambda m, s, i: m.close(), []),
}


@pytest.mark.parametrize("case", TABLE)
def test_each_method_makes_the_calls_of_the_table_and_no_other(
    manager: SessionManager, store: RecordingAdapter, case: str
) -> None:
    session = manager.create_session(participants=["there"])
    message = manager.add_message(session.id, role="user", content="hello")
    call, expected = TABLE[case]
    assert store.calls_during(lambda: call(manager, session.id, message.id)) == expected


def test_the_table_names_every_method_of_the_contract_but_setup_and_close() -> None:
    called = {name for _, calls in TABLE.values() for name in calls}
    optional = {"search_messages"}
    assert called - optional == StorageAdapter.__abstractmethods__ - {"setup", "close"}


def test_the_first_call_sets_the_store_up_and_no_other_does(manager: SessionManager, store: RecordingAdapter) -> None:
    assert store.calls_during(lambda: manager.create_session()) == ["setup", "create_session"]
    assert store.calls_during(lambda: [manager.create_session(), manager.list_sessions()]) == [
        "create_session",
        "list_sessions",
    ]


def test_a_failed_setup_is_tried_again_by_the_next_call(manager: SessionManager, store: RecordingAdapter) -> None:
    async def refuse() -> None:
        raise ValidationError("not yet")

    store.before["setup"] = refuse
    with pytest.raises(ValidationError, match="not yet"):
        manager.create_session()
    del store.before["setup"]
    assert store.calls_during(lambda: manager.create_session()) == ["setup", "create_session"]


@pytest.mark.parametrize("options", [{"token_budget": TokenBudget(max_tokens=10_000, overflow_strategy="error")}, {}])
def test_an_append_asks_once_whatever_the_options_and_the_length(
    variant: Variant, store: RecordingAdapter, options: dict[str, Any]
) -> None:
    manager = variant.manager(store, ttl=timedelta(hours=1), expiry="sliding", **options)
    session = manager.create_session()
    for _ in range(30):
        assert store.calls_during(lambda: manager.add_message(session.id, role="user", content="x")) == [
            "append_messages"
        ]


def test_a_refused_append_asks_once_too(variant: Variant, store: RecordingAdapter) -> None:
    budget = TokenBudget(max_tokens=10, overflow_strategy="error")
    manager = variant.manager(store, token_budget=budget)
    session = manager.create_session()

    def refused() -> None:
        with pytest.raises(TokenBudgetExceededError):
            manager.add_message(session.id, role="user", content="x" * 100)

    assert store.calls_during(refused) == ["append_messages"]


def test_a_missing_message_asks_as_little(manager: SessionManager, store: RecordingAdapter) -> None:
    session = manager.create_session()

    def missing(call: Callable[[], object]) -> list[str]:
        def work() -> None:
            with pytest.raises(MessageNotFoundError):
                call()

        return store.calls_during(work)

    assert missing(lambda: manager.get_message(session.id, "ghost")) == ["get_message"]
    assert missing(lambda: manager.update_message(session.id, "ghost", content="x")) == ["get_message"]
    assert missing(lambda: manager.update_message(session.id, "ghost", role="user")) == ["update_message"]
    assert missing(lambda: manager.delete_message(session.id, "ghost")) == ["get_message", "get_session"]


def test_reading_to_the_end_takes_a_page_for_every_thousand(variant: Variant, store: RecordingAdapter) -> None:
    manager = variant.manager(store)
    session = manager.create_session()
    manager.add_messages(session.id, [{"role": "user", "content": str(n)} for n in range(1001)])
    assert store.calls_during(lambda: manager.get_messages(session.id)) == ["get_messages"] * 2
    assert store.messages_read == 1001


def test_a_context_of_an_empty_session_does_not_make_the_next_one_read_more(
    variant: Variant, store: RecordingAdapter
) -> None:
    manager = variant.manager(store, token_budget=TokenBudget(max_tokens=120))
    session = manager.create_session()
    assert manager.get_conversation_context(session.id) == []
    manager.add_messages(session.id, [{"role": "user", "content": "w" * 40}] * 500)
    store.messages_read = 0
    assert store.calls_during(lambda: manager.get_conversation_context(session.id)) == ["get_conversation"]
    assert store.messages_read < 30


def test_the_cost_of_a_context_does_not_grow_with_the_conversation(variant: Variant, clock: Clock) -> None:
    costs = []
    for length in (50, 1000, 3000):
        store = variant.store(clock=clock)
        manager = variant.manager(store, token_budget=TokenBudget(max_tokens=120))
        session = manager.create_session()
        manager.add_message(session.id, role="system", content="s" * 40)
        for start in range(0, length, 500):
            manager.add_messages(session.id, [{"role": "user", "content": "w" * 40}] * min(length - start, 500))
        store.messages_read = 0
        calls = store.calls_during(partial(manager.get_conversation_context, session.id))
        costs.append((calls, store.messages_read))
    assert costs == [(["get_conversation"], 17)] * 3
