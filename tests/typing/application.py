"""The calls of a blocking application. The type checkers check this file; it never runs."""

from datetime import datetime, timedelta
from typing import Any, assert_type

from session_continuity import (
    CompressionResult,
    ConversationContext,
    HealthStatus,
    Message,
    MessageAdded,
    NewMessage,
    Page,
    Participant,
    Role,
    Session,
    SessionManager,
    SessionStatus,
    Storage,
    TokenBudget,
    open_storage,
)


def converse() -> None:
    with SessionManager.open("sqlite:///chat.db", token_budget=TokenBudget(max_tokens=4096)) as manager:
        assert_type(manager, SessionManager)
        session = manager.create_session(user_id="u1", metadata={"title": "Billing", "tags": ["vip"]}, ttl=3600)
        assert_type(session, Session)
        assert_type(session.id, str)
        assert_type(session.user_id, str | None)
        assert_type(session.status, SessionStatus)
        assert_type(session.expires_at, datetime | None)
        assert_type(session.metadata["anything"], Any)

        message = manager.add_message(session.id, role="user", content="Hello")
        assert_type(message, Message)
        assert_type(message.role, Role)
        assert_type(message.token_count, int | None)
        turn = manager.add_messages(
            session.id, [NewMessage(role="assistant", content="Hi"), {"role": "user", "content": [{"type": "x"}]}]
        )
        assert_type(turn, list[Message])

        assert_type(manager.get_conversation_context(session.id), list[Message])
        assert_type(manager.get_conversation_context_with_stats(session.id), ConversationContext)
        assert_type(manager.compress_context(session.id), CompressionResult)
        assert_type(manager.get_participants(session.id), list[Participant])
        assert_type(manager.handoff_to_agent(session.id, "refunds", reason="a double charge"), Session)
        assert_type(manager.update_session(session.id, status="paused", user_id=None), Session)
        assert_type(manager.delete_message(session.id, message.id), None)
        assert_type(manager.delete_all_messages(session.id), int)
        assert_type(manager.cleanup_expired_sessions(), int)
        assert_type(manager.health(), HealthStatus)


def read(manager: SessionManager, session_id: str) -> None:
    page = manager.get_messages(session_id, order="desc", limit=20, roles=["user", "tool"])
    assert_type(page, Page[Message])
    assert_type(page[0], Message)
    assert_type(page[1:], tuple[Message, ...])
    assert_type(page.next_cursor, str | None)
    for message in page:
        assert_type(message, Message)
    for message in manager.iter_messages(session_id):
        assert_type(message, Message)
    for session in manager.iter_sessions(user_id="u1", status="active"):
        assert_type(session, Session)
    assert_type(manager.list_sessions(tags=["vip"], limit=10), Page[Session])


def observe(manager: SessionManager) -> None:
    def handler(event: MessageAdded) -> None:
        assert_type(event.token_count, int)

    manager.on(MessageAdded, handler)
    manager.on("message:added", handler)
    manager.off(MessageAdded, handler)


def bare() -> None:
    with open_storage("memory://") as storage:
        assert_type(storage, Storage)
        assert_type(storage.get_session("s"), Session | None)
        SessionManager(storage, ttl=timedelta(hours=1), expiry="sliding")
