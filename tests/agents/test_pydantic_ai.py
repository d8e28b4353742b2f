"""pydantic-ai: its real agent with its own test model, on every store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.models.test import TestModel

from session_continuity import from_openai, to_openai
from session_continuity_agents.pydantic_ai import PydanticConversationStore

from .stores import cancel_at, gated, metered, opened

MEMORY = pytest.mark.on(url=["memory"])


def agent() -> Agent[None, str]:
    """An agent whose model calls both tools at once, and then answers."""
    made = Agent(TestModel())
    made.tool_plain(double)
    made.tool_plain(negate)
    return made


def double(number: int) -> int:
    return number * 2


def negate(number: int) -> int:
    return -number


async def turn(store: PydanticConversationStore, prompt: str, **more: Any) -> Conversation:
    """One turn of the conversation, and the conversation after it."""
    conversation = await store.load("chat", **more) or Conversation(conversation_id="chat")
    result = await agent().run(prompt, conversation=conversation)
    await store.save(result, scope="ada")
    return result.conversation


def test_a_conversation_with_parallel_tools_goes_on_in_another_event_loop(url: str) -> None:
    store = PydanticConversationStore(url=url)
    first = asyncio.run(turn(store, "first"))
    assert len(first.messages) == 4
    other = PydanticConversationStore(url=url)  # as in another process: it has seen nothing
    read = asyncio.run(other.load("chat"))
    assert read is not None
    assert read.messages == first.messages
    assert read.usage == first.usage
    second = asyncio.run(turn(other, "second"))
    assert second.messages[:4] == first.messages
    loaded = asyncio.run(store.load("chat", limit=2))
    assert loaded is not None
    assert loaded.messages == second.messages[-2:]

    async def readable() -> list[Any]:
        session = await store.manager.get_session("chat")
        assert (session.user_id, session.metadata.source) == ("ada", "pydantic_ai")
        return to_openai(await store.manager.get_conversation_context("chat"))

    chat = asyncio.run(readable())
    assert [call["function"]["name"] for each in chat for call in each.get("tool_calls", ())] == ["double", "negate"]
    assert [each["role"] for each in chat[:5]] == ["user", "assistant", "tool", "tool", "assistant"]
    asyncio.run(store.aclose())
    asyncio.run(other.aclose())


@pytest.mark.on(url=["sqlite", "redis", "dynamodb"])
def test_a_turn_costs_four_requests_and_six_on_dynamodb(url: str) -> None:
    async def main() -> list[int]:
        counted: list[int] = []
        async with metered(url) as (manager, meter):
            store = PydanticConversationStore(manager=manager)
            await turn(store, "first")
            for _ in range(2):
                with meter.count(counted):
                    await turn(store, "more", limit=20)
        return counted

    expected = 6 if url.startswith("dynamodb") else 4
    assert asyncio.run(main()) == [expected, expected]


def test_of_two_writers_one_is_told_and_nothing_of_it_is_stored(url: str) -> None:
    async def main() -> None:
        async with opened(url) as one, opened(url) as other:
            stores = [PydanticConversationStore(manager=manager) for manager in (one, other)]
            await turn(stores[0], "first")
            results = []
            for store in stores:
                conversation = await store.load("chat")
                assert conversation is not None
                results.append(await agent().run("more", conversation=conversation))
            done = await asyncio.gather(
                *(store.save(result) for store, result in zip(stores, results, strict=True)), return_exceptions=True
            )
            assert [type(each) for each in done].count(ConversationConflict) == 1
            read = await stores[0].load("chat")
            assert read is not None
            assert len(read.messages) == len(await one.get_messages("chat")) == len(results[0].conversation.messages)

    asyncio.run(main())


def test_forks_branches_scopes_and_deletes(url: str) -> None:
    async def main() -> None:
        store = PydanticConversationStore(url=url)
        await turn(store, "first")
        whole = await turn(store, "second")
        fork = await store.fork("chat", at=4, new_conversation_id="fork")
        branched = await store.branch("chat", at=4, expected_revision=whole.revision)
        assert fork.messages == branched.messages == whole.messages[:4]
        other = await turn(store, "instead")
        assert other.messages[:4] == whole.messages[:4]
        [tip] = next(each for each in await store.list_conversations() if each.conversation_id == "chat").branches
        back = await store.branch("chat", from_entry=tip, expected_revision=other.revision)
        assert back.messages == whole.messages
        assert await store.load("chat", scope="grace") is None
        assert [each.conversation_id for each in await store.list_conversations(scope="ada")] == ["chat", "fork"]
        with pytest.raises(ConversationConflict):
            await store.save(Conversation(conversation_id="chat", messages=whole.messages))
        await store.delete("chat")
        assert await store.load("chat") is None
        kept = await store.load("fork")
        assert kept is not None
        assert kept.messages == fork.messages
        await store.aclose()

    asyncio.run(main())


def test_what_another_framework_adds_belongs_to_the_history(url: str) -> None:
    async def main() -> None:
        store = PydanticConversationStore(url=url)
        before = await turn(store, "first")
        call = {"id": "c1", "type": "function", "function": {"name": "double", "arguments": '{"number": 2}'}}
        chat: Any = [
            {"role": "user", "content": "elsewhere"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
            {"role": "assistant", "content": "it is 4"},
        ]
        await store.manager.add_messages("chat", from_openai(chat))
        read = await store.load("chat")
        assert read is not None
        assert read.messages[:-4] == before.messages
        assert read.messages[-3].parts[0].tool_name == "double"  # type: ignore[union-attr]
        assert read.messages == (await store.load("chat")).messages  # type: ignore[union-attr]
        last = await turn(store, "again")
        assert last.messages[: len(read.messages)] == read.messages
        again = await store.load("chat")
        assert again is not None
        assert again.messages == last.messages
        await store.aclose()

    asyncio.run(main())


@MEMORY
def test_an_edited_message_is_read_as_edited(url: str) -> None:
    async def main() -> None:
        store = PydanticConversationStore(url=url)
        await turn(store, "my card is 4711")
        [first, *_] = await store.manager.get_messages("chat")
        await store.manager.update_message("chat", first.id, content="removed")
        read = await store.load("chat")
        assert read is not None
        assert len(read.messages) == 4
        assert "4711" not in str(read.messages)
        await store.aclose()

    asyncio.run(main())


@MEMORY
def test_a_cancelled_save_is_settled(url: str) -> None:
    async def main() -> None:
        async with gated(url) as (manager, gate):
            store = PydanticConversationStore(manager=manager)
            result = await agent().run("said", conversation=Conversation(conversation_id="chat"))
            with pytest.raises(asyncio.CancelledError):
                await cancel_at(gate, store.save(result))
            read = await store.load("chat")
            assert read is not None
            assert read.messages == result.conversation.messages

    asyncio.run(main())
