"""The calls of an async application. The type checkers check this file; it never runs."""

from collections.abc import Sequence
from typing import assert_type

from session_continuity import (
    AsyncSessionManager,
    ConversationContext,
    Message,
    MessageAdded,
    Page,
    Session,
    StorageAdapter,
    open_async_storage,
)


async def converse() -> None:
    async with AsyncSessionManager.open() as manager:
        assert_type(manager, AsyncSessionManager)
        session = await manager.create_session()
        assert_type(session, Session)
        assert_type(await manager.add_message(session.id, role="user", content="Hello", id="request-17"), Message)
        assert_type(await manager.get_conversation_context(session.id), list[Message])
        assert_type(await manager.get_conversation_context_with_stats(session.id), ConversationContext)
        page = await manager.get_messages(session.id, after="request-17")
        assert_type(page, Page[Message])
        async for message in manager.iter_messages(session.id):
            assert_type(message, Message)
        async for found in manager.iter_sessions(user_id="u1"):
            assert_type(found, Session)
        assert_type(await manager.end_session(session.id), Session)


async def observe(manager: AsyncSessionManager) -> None:
    async def handler(event: MessageAdded) -> None:
        assert_type(event.message_id, str)

    manager.on(MessageAdded, handler)


async def summarize(messages: Sequence[Message], *, previous: str | None, prompt: str | None) -> str:
    return f"{len(messages)} messages after {previous}, as {prompt}"


async def with_summaries() -> None:
    async with AsyncSessionManager.open("memory://", summarizer=summarize, compression={"strategy": "summarization"}):
        pass


async def bare() -> None:
    async with open_async_storage("memory://") as storage:
        assert_type(storage, StorageAdapter)
        assert_type(await storage.get_session("s"), Session | None)
        AsyncSessionManager(storage)
